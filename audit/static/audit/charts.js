// One stop of the Tab key for each chart; within it, the arrow keys go from link to link.
"use strict";

function steps(key, columns) {
  return {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns,
    ArrowDown: columns,
    Home: -Infinity,
    End: Infinity,
  }[key];
}

addEventListener("keydown", (event) => {
  const chart = event.target.closest?.("[data-arrows]");
  const step = chart && steps(event.key, Number(chart.dataset.arrows) || 1);
  if (!step || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  event.preventDefault();
  const links = [...chart.querySelectorAll("a")];
  const here = links.indexOf(event.target.closest("a"));
  const there = Math.max(0, Math.min(links.length - 1, here + step));
  if (Number.isFinite(step) && here + step !== there) {
    return;
  }
  links[here].tabIndex = -1;
  links[there].tabIndex = 0;
  links[there].focus();
});
