"use strict";
// Reads a cell of a heat map aloud: its opacity is the square root of the share, so the picture holds the numbers.
(() => {
  const span = (name, cell, cells, count) => {
    const first = Math.ceil((cell * count) / cells) + 1, last = Math.ceil(((cell + 1) * count) / cells);
    return first >= last ? `${name} ${last}` : `${name}s ${first} to ${last}`;
  };
  for (const image of document.querySelectorAll(".map img")) {
    const { steps, positions, examples } = image.dataset;
    const told = image.closest("figure").querySelector("output");
    let pixels = null;
    let cell = [0, 0];
    const read = () => {
      if (!pixels) {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        pixels = context.getImageData(0, 0, canvas.width, canvas.height);
      }
      const [column, row] = cell, share = (pixels.data[4 * (row * pixels.width + column) + 3] / 255) ** 2;
      const where = `${span("position", column, pixels.width, positions)}, ${span("step", row, pixels.height, steps)}`;
      told.textContent = `${where}: ${Math.round(100 * share)} % of ${examples}`;
    };
    const inside = (value, size) => Math.min(size - 1, Math.max(0, value));
    const point = (event) => {
      const box = image.getBoundingClientRect();
      cell = [
        inside(Math.floor(((event.clientX - box.left) / box.width) * image.naturalWidth), image.naturalWidth),
        inside(Math.floor(((event.clientY - box.top) / box.height) * image.naturalHeight), image.naturalHeight),
      ];
      read();
    };
    for (const kind of ["pointermove", "pointerdown"]) image.addEventListener(kind, point);
    image.addEventListener("focus", read);
    image.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      cell = [inside(cell[0] + move[0], image.naturalWidth), inside(cell[1] + move[1], image.naturalHeight)];
      read();
    });
  }
})();
