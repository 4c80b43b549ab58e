"""The page in Chromium, as a reader uses it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from fake_run import HOSTILE

RIGHT = (0x56, 0xB4, 0xE9)


@pytest.fixture
def page(browser: Any, report: Path) -> Any:
    """The page, freshly opened and fully drawn. Its log starts here."""
    browser.get_log("browser")
    browser.get_log("performance")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get(report.as_uri())
    _until(browser, "document.querySelectorAll('#panels canvas').length > 1")
    return browser


def test_it_opens_without_an_error_and_asks_nobody(page: Any) -> None:
    # "INFO" is what the browser says of its own pages, for example of a slow network
    assert [entry for entry in page.get_log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # the browser's own first tab may still be loading
    asked = [s["request"]["url"] for s in sent if s["documentURL"] == page.current_url]
    assert [url for url in asked if not url.startswith("data:")] == [page.current_url]


def test_its_policy_lets_nothing_out(page: Any) -> None:
    blocked = page.execute_async_script(
        """
        const done = arguments[0];
        document.addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
        const image = new Image();
        image.src = "http://127.0.0.1:9/leak.png";
        """
    )
    assert blocked == "img-src"
    page.get_log("browser")


def test_every_chart_is_drawn(page: Any) -> None:
    slugs = page.execute_script("return [...document.querySelectorAll('.chart')].map((c) => c.dataset.chart)")
    assert {"time-to-iou", "cost-memory", "cost-inference", "loss-time/0", "progress-iterations", "errors"} <= set(
        slugs
    )
    empty = page.execute_script(
        "return [...document.querySelectorAll('.chart')].filter("
        "(c) => !c.querySelector('.main-svg') || !c.data.length).map((c) => c.dataset.chart)"
    )
    assert empty == []


def test_a_head_sorts_both_ways_and_leaves_the_empty_last(page: Any) -> None:
    button = page.find_element("xpath", "//table[@id='ranking']//th/button[text()='IoU']")
    button.send_keys("\n")
    values = _column(page, "IoU")
    known = [float(value) for value in values if value]
    assert values[-1] == ""
    assert known == sorted(known, reverse=True)
    button.click()
    values = _column(page, "IoU")
    assert values[-1] == ""
    assert [float(value) for value in values if value] == sorted(known)
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"


def test_the_filter_leaves_rows_that_hold_every_word(page: Any) -> None:
    box = page.find_element("id", "filter")
    box.send_keys("backbone copy")
    assert _column(page, "method") == ["container+copy_paste"]
    assert page.find_element("id", "shown-rows").text.startswith("1 of ")
    box.send_keys("\b" * 20)
    assert len(_column(page, "method")) > 5


def test_columns_on_demand(page: Any) -> None:
    head = page.find_element("xpath", "//table[@id='ranking']//th[button[text()='parameters']]")
    assert not head.is_displayed()
    page.find_element("id", "all-columns").click()
    assert head.is_displayed()


def test_a_method_can_be_taken_out_of_figures_and_gallery(page: Any) -> None:
    def there() -> list[int]:
        return [
            page.execute_script("return document.querySelector('[data-chart=thresholds]').data.length"),
            len(page.find_elements("css selector", "#panels figure")),
        ]

    before = there()
    page.find_element("css selector", "#key input[data-method=mask_rcnn]").send_keys(" ")
    _until(page, f"document.querySelectorAll('#panels figure').length === {before[1] - 1}")
    assert there() == [before[0] - 1, before[1] - 1]


def test_the_slider_moves_by_keyboard_and_by_mouse(page: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    slider = page.find_element("id", "slider")
    assert _cut(page) == 50
    slider.send_keys(Keys.ARROW_RIGHT * 10)
    assert _cut(page) == 40
    stage = page.find_element("id", "stage")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", stage)
    ActionChains(page).move_to_element_with_offset(stage, -stage.size["width"] // 4, 0).click().perform()
    assert _cut(page) == pytest.approx(75, abs=2)
    assert int(slider.get_attribute("value")) == pytest.approx(25, abs=2)


def test_zoom_puts_a_cell_in_the_middle(page: Any) -> None:
    page.execute_script(
        "const zoom = document.getElementById('zoom'); zoom.value = '4'; zoom.dispatchEvent(new Event('change'))"
    )
    _until(page, "document.getElementById('compare').scrollLeft > 0")
    away = page.execute_script(
        """
        const { pictures, units } = JSON.parse(document.getElementById("payload").textContent);
        const picture = pictures[document.getElementById("picture").value];
        const [view, stage] = ["compare", "stage"].map((id) => document.getElementById(id));
        const scale = stage.clientWidth / picture.width;
        const x = (view.scrollLeft + view.clientWidth / 2) / scale;
        const y = (view.scrollTop + view.clientHeight / 2) / scale;
        const values = new Int16Array(Uint8Array.from(atob(picture.truth), (c) => c.charCodeAt(0)).buffer);
        let nearest = Infinity;
        for (let at = 0; at < values.length; ) {
          const points = values[at++];
          const middle = [0, 0];
          for (let i = 0; i < 2 * points; i++) middle[i % 2] += values[at + i] / units / points;
          nearest = Math.min(nearest, Math.hypot(middle[0] - x, middle[1] - y));
          at += 2 * points;
        }
        return nearest;
        """
    )
    assert away < 3, "pixels from the middle of the view to the middle of a cell"


def test_a_method_that_is_not_ticked_has_no_panel(page: Any) -> None:
    shown = "[...document.querySelectorAll('.panel')].filter((p) => !p.hidden && p.dataset.method === 'deepmac').length"
    assert page.execute_script(f"return {shown}") == 2
    page.find_element("css selector", "#key input[data-method=deepmac]").send_keys(" ")
    assert page.execute_script(f"return {shown}") == 0


def test_outlines_are_on_the_images_and_change_with_them(page: Any) -> None:
    first = _pixels(page, "#panels figure:nth-child(2) canvas")
    assert first > 50
    assert _pixels(page, "#panels figure:nth-child(1) canvas") == 0, "the ground truth is neither right nor wrong"
    page.execute_script(
        "const s = document.getElementById('picture'); s.value = s.options.length - 1; "
        "s.dispatchEvent(new Event('change'))"
    )
    _until(page, f"{_count('#panels figure:nth-child(2) canvas')} !== {first}")


def test_a_hostile_name_is_text(page: Any) -> None:
    assert HOSTILE in _column(page, "method")
    assert HOSTILE in page.find_element("id", "key").text
    assert HOSTILE in page.execute_script("return [...document.getElementById('left').options].map((o) => o.text)")
    ticks = page.execute_script("return [...document.querySelectorAll('.ytick text')].map((t) => t.textContent)")
    assert HOSTILE in ticks
    alerts = page.execute_script("return [...document.scripts].filter((s) => s.textContent === 'alert(1)').length")
    assert alerts == 0


def test_dark_where_the_reader_wants_it_dark(page: Any) -> None:
    look = (
        "return [getComputedStyle(document.body).backgroundColor, document.querySelector('.xtick text').style.fill, "
        "document.querySelector('[data-chart=thresholds]').layout.font.color]"
    )
    light = page.execute_script(look)
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    _until(page, f"document.querySelector('.xtick text').style.fill !== {json.dumps(light[1])}")
    dark = page.execute_script(look)
    assert all(a != b for a, b in zip(light, dark, strict=True))


def test_a_phone_shows_it_without_scrolling_sideways(page: Any) -> None:
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    )
    _until(page, "document.querySelector('.chart .main-svg').clientWidth < 390")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390


def test_it_prints_and_is_as_before_afterwards(page: Any) -> None:
    width = "return document.querySelector('[data-chart=errors] .main-svg').clientWidth"
    before = page.execute_script(width)
    page.execute_script(
        "window.widths = []; addEventListener('beforeprint', () => window.widths.push("
        "document.querySelector('[data-chart=errors] .main-svg').clientWidth))"
    )
    printed = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"])
    assert printed.startswith(b"%PDF-")
    assert page.execute_script("return window.widths") == [690]
    assert page.execute_script(width) == before


def _column(page: Any, name: str) -> list[str]:
    """The texts of a column of the leaderboard, for the visible rows, from top to bottom."""
    found: list[str] = page.execute_script(
        """
        const heads = [...document.querySelectorAll("#ranking thead th")].map((h) => h.textContent);
        const column = heads.indexOf(arguments[0]);
        return [...document.querySelectorAll("#ranking tbody tr")]
          .filter((row) => !row.hidden)
          .map((row) => row.cells[column].textContent);
        """,
        name,
    )
    return found


def _cut(page: Any) -> float:
    """Percentage of the left image that is hidden, according to the browser."""
    style = page.execute_script("return document.querySelectorAll('#stage canvas')[1].style.clipPath")
    return float(style.split()[1].rstrip("%"))


def _count(selector: str) -> str:
    """JavaScript: number of pixels of a canvas with the colour of correct predictions."""
    return (
        f"((c) => {{ const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0; "
        f"for (let i = 0; i < d.length; i += 4) n += d[i] === {RIGHT[0]} && d[i + 1] === {RIGHT[1]} "
        f"&& d[i + 2] === {RIGHT[2]}; return n; }})(document.querySelector('{selector}'))"
    )


def _pixels(page: Any, selector: str) -> int:
    return int(page.execute_script(f"return {_count(selector)}"))


def _until(page: Any, holds: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, 30).until(lambda _: page.execute_script(f"return {holds}"), f"never so: {holds}")
