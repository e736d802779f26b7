// Sends each photograph that is dropped, pasted or chosen to the server, one at a time, and shows its answer.
const drop = document.getElementById("drop");
const chooser = document.getElementById("files");
const results = document.getElementById("results");
let last = Promise.resolve();

function add(tag, parent, text = "", name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (name) element.className = name;
  parent.append(element);
  return element;
}

function show(file) {
  const item = document.createElement("li");
  const picture = add("img", item);
  picture.alt = "";
  picture.src = URL.createObjectURL(file);
  picture.onload = picture.onerror = () => URL.revokeObjectURL(picture.src);
  const answer = add("div", item);
  add("h2", answer, file.name);
  const state = add("p", answer, "Waiting ...");
  results.prepend(item);
  return { answer, state };
}

function fill(answer, top) {
  const table = add("table", answer);
  const caption = add("caption", table, "Most likely classes");
  caption.hidden = true;
  for (const [name, probability] of Object.entries(top)) {
    const row = add("tr", table);
    add("th", row, name).scope = "row";
    const bar = add("progress", add("td", row, "", "share"));
    bar.max = 1;
    bar.value = probability;
    bar.setAttribute("aria-hidden", "true");
    add("td", row, `${(100 * probability).toFixed(1)}%`);
  }
}

async function classify(file, { answer, state }) {
  try {
    const response = await fetch(`predict?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
    const values = await response.json();
    if (values.error) throw new Error(values.error);
    state.remove();
    fill(answer, values.top);
  } catch (error) {
    state.textContent = error instanceof TypeError || error instanceof SyntaxError
      ? "No answer: the server has stopped, or the file is too large." : `Not predicted: ${error.message}`;
    state.className = "error";
  }
}

function take(files) {
  for (const file of files) {
    const shown = show(file);
    last = last.then(() => classify(file, shown));
  }
}

chooser.addEventListener("change", () => { take([...chooser.files]); chooser.value = ""; });
window.addEventListener("paste", (event) => take([...event.clipboardData.files]));
for (const kind of ["dragover", "drop"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take([...event.dataTransfer.files]);
  });
}
window.addEventListener("dragleave", () => drop.classList.remove("over"));
