// Draws outlines on the images: two methods under a slider, and all methods beside the ground truth.
"use strict";
(() => {
  const { pictures, units } = JSON.parse(document.getElementById("payload").textContent);
  if (!pictures.length) return;
  const TRUTH = "ground truth";
  const byId = (id) => document.getElementById(id);
  const style = getComputedStyle(document.documentElement);
  const KINDS = {
    truth: { colour: style.getPropertyValue("--truth"), dash: [] },
    right: { colour: style.getPropertyValue("--right"), dash: [] },
    missed: { colour: style.getPropertyValue("--missed"), dash: [6, 4] },
    false: { colour: style.getPropertyValue("--false"), dash: [4, 2.5] },
  };

  const paths = new Map(); // packed outlines to their path, made once

  const pathOf = (packed) => {
    if (!paths.has(packed)) {
      const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
      const values = new Int16Array(bytes.buffer);
      const path = new Path2D();
      for (let at = 0; at < values.length; ) {
        const end = at + 1 + 2 * values[at++];
        path.moveTo(values[at] / units, values[at + 1] / units);
        for (at += 2; at < end; at += 2) path.lineTo(values[at] / units, values[at + 1] / units);
        path.closePath();
      }
      paths.set(packed, path);
    }
    return paths.get(packed);
  };

  const layersOf = (picture, name) => {
    if (name === TRUTH) return [["truth", picture.truth]];
    const panel = picture.panels.find((p) => p.method === name);
    return panel ? ["right", "missed", "false"].map((kind) => [kind, panel[kind]]) : [];
  };

  const described = (picture, name) => {
    if (name === TRUTH) return `${picture.cells} cells`;
    const panel = picture.panels.find((p) => p.method === name);
    if (!panel) return "no predictions";
    const [right, missed, wrong] = panel.counts;
    return `IoU ${panel.iou === null ? "?" : panel.iou.toFixed(3)}; ${right} right, ${missed} missed, ${wrong} false`;
  };

  // width: of the canvas in its own pixels; thick: of lines, in the same
  const paint = (canvas, image, picture, name, width, thick) => {
    const scale = width / picture.width;
    canvas.width = width;
    canvas.height = Math.round(picture.height * scale);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = scale < 2;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    context.scale(scale, scale);
    context.lineJoin = "round";
    for (const [kind, packed] of layersOf(picture, name)) {
      const path = pathOf(packed);
      const { colour, dash } = KINDS[kind];
      context.setLineDash([]);
      context.strokeStyle = "rgba(0, 0, 0, 0.4)";
      context.lineWidth = (1.7 * thick) / scale;
      context.stroke(path);
      context.setLineDash(dash.map((length) => (length * thick) / 2 / scale));
      context.strokeStyle = colour;
      context.lineWidth = thick / scale;
      context.stroke(path);
    }
    canvas.setAttribute("aria-label", `${picture.image_id}, ${name}: ${described(picture, name)}`);
  };

  // among hundreds of cells thick lines would hide them
  const thin = (picture) => (picture.cells > 150 ? 0.6 : 1);

  const images = pictures.map((picture) => {
    const image = new Image();
    image.src = picture.uri;
    return image;
  });
  const [picked, left, right, zoom] = ["picture", "left", "right", "zoom"].map(byId);
  const stage = byId("stage");
  const [under, over] = stage.querySelectorAll("canvas");
  const slider = byId("slider");
  const methods = [...new Set(pictures.flatMap((p) => p.panels.map((panel) => panel.method)))];
  let hidden = () => false;

  for (const select of [left, right]) {
    for (const name of [TRUTH, ...methods]) select.add(new Option(name, name));
  }
  right.value = methods[0];

  const slide = () => {
    // the left method lies on top and is cut off at the slider
    over.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    byId("divider").style.left = `${slider.value}%`;
  };

  const compare = async () => {
    const [picture, image] = [pictures[picked.value], images[picked.value]];
    await image.decode();
    // no taller than the window, slider included
    byId("pair").style.maxWidth = `min(900px, ${(78 * picture.width) / picture.height}vh)`;
    stage.style.width = `${100 * zoom.value}%`;
    const width = Math.min(4096, Math.round(stage.clientWidth * Math.max(1, devicePixelRatio)));
    const thick = (2 * thin(picture) * width) / stage.clientWidth;
    paint(under, image, picture, right.value, width, thick);
    paint(over, image, picture, left.value, width, thick);
    byId("left-name").textContent = left.value;
    byId("right-name").textContent = right.value;
    slide();
  };

  // the middle of each annotated cell, in pixels of the picture
  const middles = (picture) => {
    const values = new Int16Array(Uint8Array.from(atob(picture.truth), (c) => c.charCodeAt(0)).buffer);
    const found = [];
    for (let at = 0; at < values.length; ) {
      const points = values[at++];
      const sum = [0, 0];
      for (let i = 0; i < 2 * points; i++) sum[i % 2] += values[at + i] / units / points;
      found.push(sum);
      at += 2 * points;
    }
    return found;
  };

  // shows, in the middle, the cell that is nearest to what was in the middle
  let inMiddle = [0.5, 0.5]; // of the picture's sides
  const centre = () => {
    const view = byId("compare");
    const picture = pictures[picked.value];
    const scale = stage.clientWidth / picture.width;
    const wanted = [inMiddle[0] * picture.width, inMiddle[1] * picture.height];
    const away = ([x, y]) => (x - wanted[0]) ** 2 + (y - wanted[1]) ** 2;
    const [nearest] = middles(picture).sort((a, b) => away(a) - away(b));
    const [x, y] = zoom.value > 1 && nearest ? nearest : wanted;
    if (zoom.value > 1) {
      // the two methods meet on the cell
      slider.value = (100 * x) / picture.width;
      slide();
    }
    view.scrollTo(x * scale - view.clientWidth / 2, y * scale - view.clientHeight / 2);
  };

  const panels = async () => {
    const [picture, image] = [pictures[picked.value], images[picked.value]];
    await image.decode();
    const drawn = [TRUTH, ...methods].filter((name) => !hidden(name)).map((name) => {
      const figure = document.createElement("figure");
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      const width = Math.max(640, picture.width);
      paint(canvas, image, picture, name, width, (width / 190) * thin(picture));
      const caption = document.createElement("figcaption");
      const strong = document.createElement("strong");
      strong.textContent = name;
      caption.append(strong, document.createElement("br"), described(picture, name));
      figure.append(canvas, caption);
      return figure;
    });
    byId("panels").replaceChildren(...drawn);
  };

  byId("compare").addEventListener("scroll", ({ target: view }) => {
    inMiddle = [
      (view.scrollLeft + view.clientWidth / 2) / stage.clientWidth,
      (view.scrollTop + view.clientHeight / 2) / stage.clientHeight,
    ];
  });
  picked.addEventListener("change", () => Promise.all([compare(), panels()]));
  for (const select of [left, right]) select.addEventListener("change", compare);
  zoom.addEventListener("change", async () => {
    const wanted = inMiddle;
    await compare();
    inMiddle = wanted;
    centre();
  });
  slider.addEventListener("input", slide);
  const drag = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = stage.getBoundingClientRect();
    slider.value = (100 * (event.clientX - box.left)) / box.width;
    slide();
  };
  stage.addEventListener("pointerdown", drag);
  stage.addEventListener("pointermove", drag);
  document.addEventListener("methods", (event) => {
    hidden = (name) => name !== TRUTH && !event.detail.has(name);
    panels();
  });
  let resizing;
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(compare, 200);
  });
  Promise.all([compare(), panels()]);
})();
