"use strict";

const form = document.querySelector(".play-form");
const answerBox = document.querySelector("[data-answer]");
const status = document.querySelector("[data-status]");
let isRunning = false;

const find = (name) => answerBox.querySelector(`[data-${name}]`);

function element(name, text, properties = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  return Object.assign(made, properties);
}

// One conversation of this page, as LibreChat names its own. Not randomUUID(), which browsers offer
// to HTTPS and localhost only.
const conversation = `playground-${[...crypto.getRandomValues(new Uint32Array(4))]
  .map((part) => part.toString(16))
  .join("")}`;

function say(text, kind = "") {
  status.textContent = text;
  status.dataset.kind = kind;
}

/** The API's answer, whatever its status. */
async function call(address, options, contentType) {
  const response = await fetch(address, {
    ...options,
    headers: {
      Accept: "application/json",
      "Content-Type": contentType || "application/octet-stream",
      "X-CSRFToken": form.elements.csrfmiddlewaretoken.value,
    },
  });
  const isJSON = (response.headers.get("Content-Type") || "").startsWith("application/json");
  if (!isJSON) {
    throw new Error(
      response.status === 400
        ? "The server refused the request; the code may be too large for this page."
        : `The server answered with status ${response.status}. You may have been logged out.`,
    );
  }
  return { status: response.status, ...(await response.json()) };
}

async function upload(file) {
  const query = new URLSearchParams({
    key: form.elements.key.value,
    user: form.elements.user.value,
    name: file.name,
  });
  return call(`${form.dataset.files}?${query}`, { method: "PUT", body: file }, file.type);
}

function asked(refs) {
  const { lang, code, args, seconds, same } = form.elements;
  const lines = args.value.split("\n");
  const request = { lang: lang.value, code: code.value };
  if (args.value !== "") {
    request.args = lines.at(-1) === "" ? lines.slice(0, -1) : lines;
  }
  if (refs.length) {
    request.files = refs;
  }
  if (seconds.value) {
    request.timeout = Number(seconds.value) * 1000;
  }
  if (same.checked) {
    request.runtime_session_hint = conversation;
  }
  return request;
}

async function run() {
  if (isRunning) {
    return;
  }
  isRunning = true;
  const button = form.querySelector("[data-start]");
  button.setAttribute("aria-disabled", "true");
  const began = performance.now();
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1);
  const ticking = setInterval(() => {
    button.textContent = `Running, ${seconds()} s`;
  }, 200);
  say("Running…");
  try {
    const refs = [];
    for (const file of form.elements.files.files) {
      const uploaded = await upload(file);
      if (uploaded.status !== 200) {
        show(uploaded);
        say(`${file.name} could not be uploaded: status ${uploaded.status}`, "trouble");
        return;
      }
      refs.push(uploaded.answer);
    }
    const body = JSON.stringify({
      key: form.elements.key.value,
      user: form.elements.user.value,
      request: asked(refs),
    });
    const answered = await call(form.dataset.run, { method: "POST", body }, "application/json");
    show(answered);
    say(`Status ${answered.status} after ${seconds()} s`, answered.status === 200 ? "" : "trouble");
    if (form.elements.same.checked && answered.status === 200) {
      // The session has them now.
      form.elements.files.value = "";
    }
  } catch (error) {
    say(error instanceof TypeError ? "The server does not answer." : error.message, "trouble");
  } finally {
    clearInterval(ticking);
    button.textContent = "Run";
    button.setAttribute("aria-disabled", "false");
    isRunning = false;
  }
}

function show({ answer, shown, beside, steps = [], links = {}, execution, session }) {
  answerBox.hidden = false;
  find("shown").textContent = shown;
  find("shown").dataset.empty = shown ? "" : "The words are LibreChat's own.";
  find("beside").textContent = beside;
  find("json").textContent = JSON.stringify(answer, null, 2);
  find("links").replaceChildren(
    ...(execution ? [element("a", "Its execution", { href: execution, className: "text-link" })] : []),
    ...(session ? [element("a", "Its session", { href: session, className: "text-link" })] : []),
  );
  showFiles(answer.files ?? [], links);
  showSteps(steps);
}

function showFiles(files, links) {
  find("files-section").hidden = files.length === 0;
  find("listed").replaceChildren(
    ...files.map((file) => {
      const row = document.createElement("li");
      row.append(
        element("a", file.name, { href: links[file.id], className: "text-link" }),
        element("span", `${file.size.toLocaleString("en")} bytes`),
        element("span", file.inherited ? "given, unchanged" : file.modified_from ? "changed" : "new"),
      );
      return row;
    }),
  );
}

function showSteps(steps) {
  find("steps-section").hidden = steps.length === 0;
  const total = Math.max(...steps.map(([, ms]) => ms), 1);
  find("steps").replaceChildren(
    ...steps.map(([name, ms]) => {
      const row = document.createElement("tr");
      const bar = element("progress", "", { max: total, value: ms });
      bar.setAttribute("aria-hidden", "true");
      const cell = document.createElement("td");
      cell.append(bar);
      row.append(element("th", name, { scope: "row" }), element("td", `${ms} ms`), cell);
      return row;
    }),
  );
}

if (form) {
  // The theme looks for its own widget around every such field.
  form.elements.files.hasChangeListener = true;
}
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
form?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  }
});
