// Draws the charts, in the colours of light or dark, for the methods that are ticked.
"use strict";
(() => {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const places = [...document.querySelectorAll(".chart")];
  const boxes = [...document.querySelectorAll("#key input")];

  const coloured = (value, style) => {
    if (typeof value === "string") {
      const name = /^var\((--[a-z]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((inner) => coloured(inner, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coloured(inner, style)]));
    }
    return value;
  };

  const ticked = () => new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.method));

  const draw = (place, paper) => {
    const chart = payload.charts[place.dataset.chart];
    const shown = ticked();
    const data = chart.data.filter((_, i) => chart.methods[i] === null || shown.has(chart.methods[i]));
    const style = getComputedStyle(document.documentElement);
    const layout = coloured(chart.layout, style);
    layout.autosize = !paper;
    if (paper) Object.assign(layout, { width: place.closest(".panel") ? 165 : place.closest(".wide") ? 690 : 330, height: Math.min(layout.height, 270) });
    Plotly.react(place, coloured(data, style), layout, { displayModeBar: false, responsive: true });
  };
  const drawAll = () => {
    const shown = ticked();
    for (const panel of document.querySelectorAll(".panel")) panel.hidden = !shown.has(panel.dataset.method);
    places.filter((place) => !place.closest("[hidden]")).forEach((place) => draw(place));
  };

  const apply = () => {
    drawAll();
    document.dispatchEvent(new CustomEvent("methods", { detail: ticked() }));
  };
  boxes.forEach((box) => box.addEventListener("change", apply));
  const tick = (on) => () => {
    boxes.forEach((box) => (box.checked = on));
    apply();
  };
  document.getElementById("show-all")?.addEventListener("click", tick(true));
  document.getElementById("show-none")?.addEventListener("click", tick(false));

  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // paper is narrower than the screen, and white: a drawing must be made for it
  addEventListener("beforeprint", () =>
    places.filter((place) => !place.closest("[hidden]")).forEach((place) => draw(place, true)),
  );
  addEventListener("afterprint", drawAll);
})();
