"use strict";
/* Uses the page's controls as a person would, and leaves what it shows as JSON in an element of its own. */
const found = { errors: [], jobs: [], said: {} };
addEventListener("error", (event) => found.errors.push(event.message));

function enter(control, value, event = "input") {
  control.focus();
  control.value = value;
  control.dispatchEvent(new Event(event, { bubbles: true }));
  control.blur();
}

function tick(box, wanted) {
  if (box.checked !== wanted) box.click();
}

function slide(label, numbers) {
  const inputs = [...document.querySelectorAll("#sliders .slider")]
    .filter((row) => row.querySelector("label").textContent === label).map((row) => row.querySelector("input"));
  if (inputs.length !== numbers.length) found.errors.push(`${inputs.length} sliders of ${label}`);
  inputs.forEach((input, index) => enter(input, numbers[index]));
}

function press(key) {
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

const texts = (selector) => [...document.querySelectorAll(selector)].map((cell) => cell.textContent);
const sum = () => byId("sum").textContent;

// The page as it opens, and keys
found.check = byId("check").textContent;
found.loaded = performance.getEntriesByType("resource").length;
found.unnamed = [...document.querySelectorAll("input, select, textarea, button")]
  .filter((control) => !control.labels?.length && !control.getAttribute("aria-label") && !control.textContent.trim()).length;
found.steps = ["Home", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowLeft", "End"].map((key) => {
  press(key);
  return sum().split(" = ")[0];
});
press("Home");
found.unknown = [...texts("#y td"), ...texts("#output tbody td")].filter((text) => !text).length;
press(" ");
found.playing = [byId("play").textContent, byId("sum").getAttribute("aria-live")];
press(" ");
found.paused = [byId("play").textContent, byId("sum").getAttribute("aria-live")];
document.querySelector("#output tbody tr:nth-child(2) td:nth-of-type(2)").click();
found.clicked = sum().split(" = ")[0];
byId("input-text").focus();
byId("input-text").dispatchEvent(new KeyboardEvent("keydown", { key: "End", bubbles: true }));
found.kept = sum().split(" = ")[0]; // keys of a field belong to it
byId("input-text").blur();

// Wrong input is said, and the picture stays
for (const [name, text] of [["letters", "1 x"], ["empty", ""], ["ragged", "1 2\n3"], ["large", "1e99"]]) {
  enter(byId("kernel-text"), text);
  found.said[name] = [byId("kernel-text").getAttribute("aria-invalid"), byId("kernel-wrong").textContent, sum().split(" = ")[0]];
}
enter(byId("kernel-text"), "1 1 1 1 1 1 1 1 1");
found.said.problem = [byId("problem").textContent, byId("shown").className];
enter(byId("kernel-text"), "1");
found.said.mended = [byId("problem").textContent, byId("shown").className];

// Every job is made with the controls
for (const wanted of JOBS) {
  enter(byId("rank"), wanted.input.shape.length, "change");
  enter(byId("preset"), "0", "change");
  tick(byId("transposed"), wanted.transposed);
  tick(byId("apart"), true);
  enter(byId("input-text"), arrayText(wanted.input));
  enter(byId("kernel-text"), arrayText(wanted.kernel, ", ", ";\n"));
  const crops = wanted.transposed ? " (crops)" : "";
  slide("stride", wanted.axes.map((axis) => axis.stride));
  slide("dilation", wanted.axes.map((axis) => axis.dilation));
  slide(`padding${crops} before`, wanted.axes.map((axis) => axis.before));
  slide(`padding${crops} after`, wanted.axes.map((axis) => axis.after));
  if (wanted.transposed) slide("output padding", wanted.axes.map((axis) => axis.outputPadding));
  else enter(byId("mode"), wanted.mode, "change");
  if (wanted.mode === "constant") enter(byId("value"), String(wanted.value));
  enter(byId("bias"), String(wanted.bias));
  press("End");
  const rows = [...document.querySelectorAll("#output tbody tr")];
  found.jobs.push({
    sizes: wanted.input.shape.length > 1 ? [rows.length, rows[0].querySelectorAll("td").length] : [rows[0].cells.length],
    outputs: texts("#output tbody td"),
    y: texts("#y td"),
    matrix: [...document.querySelectorAll("#weights tr")].map((row) => [...row.cells].map((cell) => cell.textContent || "0")),
    problem: byId("problem").textContent,
  });
}

const shown = document.createElement("pre");
shown.id = "found";
shown.textContent = JSON.stringify(found);
document.body.append(shown);
