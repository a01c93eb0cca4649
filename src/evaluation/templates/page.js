// Draws the page's figures in the reader's colours, and sorts its tables.
(() => {
  const dark = matchMedia("screen and (prefers-color-scheme: dark)");
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const webgl = () => document.createElement("canvas").getContext("webgl") !== null;

  function template() {
    const axis = { gridcolor: style("--line"), linecolor: style("--soft"), zerolinecolor: style("--soft"),
      zeroline: false, automargin: true, fixedrange: false, title: { standoff: 8 } };
    return { layout: {
      font: { family: "system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif", size: 12, color: style("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis,
      hoverlabel: { bgcolor: style("--panel"), bordercolor: style("--line"), font: { color: style("--ink") } },
      legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 }, margin: { l: 50, r: 10, t: 36, b: 40 },
      scene: { bgcolor: "rgba(0,0,0,0)" },
    } };
  }

  function draw(figure) {
    const place = figure.querySelector("div"), source = figure.querySelector("script").textContent;
    if (source.includes('"mesh3d"') && !webgl()) {
      place.textContent = "This browser has no WebGL, which the turning cortex needs; the picture beside shows the same.";
      return;
    }
    const other = dark.matches ? JSON.parse(document.getElementById("dark-colours").textContent) : {};
    const { data, layout } = JSON.parse(source.replace(/#[0-9a-f]{6}/gi, (colour) => other[colour.toLowerCase()] ?? colour));
    Plotly.react(place, data, { ...layout, template: template() },
      { displayModeBar: false, responsive: true, scrollZoom: false });
  }

  function sort(button) {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const falling = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
    const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent.trim();
    const compare = (a, b) => a === b ? 0 : a === "" ? 1 : b === "" ? -1
      : (isNaN(a) || isNaN(b) ? b.localeCompare(a) : b - a) * (falling === "descending" ? 1 : -1);
    head.parentElement.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", falling);
    body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
  }

  const drawAll = () => document.querySelectorAll("figure.plot").forEach(draw);
  drawAll();
  dark.addEventListener("change", drawAll);
  document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => sort(button)));
})();
