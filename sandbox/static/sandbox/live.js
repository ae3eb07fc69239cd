"use strict";

// Once a second while somebody looks. Cards are changed in place, so that focus, selection and
// scrolling stay where they are.
const PERIOD_MS = 1000;
const PATIENCE_MS = 10000;
// For how long a run that has ended is still shown, and longer while it has the focus.
const FAREWELL_MS = 6000;

const root = document.querySelector("[data-live]");
const status = root.querySelector("[data-status]");
const list = root.querySelector("[data-runs]");
const quiet = root.querySelector("[data-quiet]");
const dialog = document.querySelector("[data-dialog]");
const template = document.getElementById("live-run");
const token = root.querySelector("[name=csrfmiddlewaretoken]").value;
const cards = new Map();
let timer = null;
let isLooking = false;

class Refused extends Error {}

async function ask(address, options = {}) {
  const response = await fetch(address, {
    headers: { Accept: "application/json", "X-CSRFToken": token },
    signal: AbortSignal.timeout(PATIENCE_MS),
    ...options,
  });
  // Who is not logged in any more is sent to a page.
  if (response.redirected) {
    throw new Refused("You are logged out. Reload this page to log in.");
  }
  if (response.status === 403) {
    throw new Refused("You may not see this any more.");
  }
  if (!response.ok) {
    throw new Error(`HTTP ${response.status}`);
  }
  return response.json();
}

function say(text, kind = "") {
  if (status.textContent !== text) {
    status.textContent = text;
  }
  status.dataset.kind = kind;
}

function write(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

function age(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function writeText(card, name, text) {
  const element = card.querySelector(`[data-text=${name}]`);
  const isMissing = text === undefined;
  const shown = isMissing ? "You may not read this." : text;
  element.hidden = name === "stderr" && !text;
  if (name === "stdout") {
    element.dataset.empty = shown === "" ? "No output yet" : "";
  }
  if (element.textContent === shown) {
    return;
  }
  const atEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - 4;
  element.textContent = shown;
  if ("follow" in element.dataset && atEnd) {
    element.scrollTop = element.scrollHeight;
  }
}

function make(run) {
  const card = template.content.firstElementChild.cloneNode(true);
  card.dataset.run = run.id;
  card.querySelector("[data-page]").href = run.page;
  const session = card.querySelector("[data-session]");
  if (run.session) session.href = run.session;
  else session.remove();
  card.querySelector("[data-stop]")?.addEventListener("click", () => confirmStop(card));
  list.append(card);
  cards.set(run.id, card);
  return card;
}

function update(card, run) {
  card.run = run;
  const where = card.querySelector("[data-where]");
  write(where, run.stopping ? "stopping" : run.where);
  where.dataset.kind = run.stopping ? "stopping" : run.where;
  write(card.querySelector("[data-age]"), age(run.seconds));
  const user = run.user ? `user ${run.user}` : "no user named";
  write(card.querySelector("[data-facts]"), [run.language, run.key, user].join(" · "));
  const button = card.querySelector("[data-stop]");
  if (button) {
    // Not disabled, which would take the focus away.
    button.setAttribute("aria-disabled", String(run.stopping));
    write(button, run.stopping ? "Stopping…" : "Stop");
  }
  for (const name of ["code", "stdout", "stderr"]) {
    writeText(card, name, run[name]);
  }
}

function end(card) {
  if (!card.endedAt) {
    card.endedAt = performance.now();
    card.classList.add("ended");
    const where = card.querySelector("[data-where]");
    write(where, "ended");
    where.dataset.kind = "ended";
    card.querySelector("[data-stop]")?.setAttribute("aria-disabled", "true");
  } else if (
    performance.now() - card.endedAt > FAREWELL_MS &&
    !card.contains(document.activeElement)
  ) {
    cards.delete(card.dataset.run);
    card.remove();
  }
}

function show({ count, runs }) {
  const current = new Set(runs.map((run) => run.id));
  for (const run of runs) {
    update(cards.get(run.id) ?? make(run), run);
  }
  for (const [id, card] of cards) {
    if (!current.has(id)) {
      end(card);
    }
  }
  quiet.hidden = cards.size > 0;
  const shown = count > runs.length ? `; the ${runs.length} oldest are shown` : "";
  say(count === 1 ? "1 run" : `${count} runs${shown}`);
}

async function look() {
  if (isLooking) {
    return;
  }
  isLooking = true;
  clearTimeout(timer);
  let goesOn = true;
  try {
    show(await ask(root.dataset.live));
    delete root.dataset.stale;
  } catch (error) {
    root.dataset.stale = "";
    goesOn = !(error instanceof Refused);
    say(goesOn ? "The server does not answer. What you see is old; trying again…" : error.message, "trouble");
  }
  isLooking = false;
  if (goesOn && document.visibilityState === "visible") {
    timer = setTimeout(look, PERIOD_MS);
  }
}

function confirmStop(card) {
  if (card.run.stopping || card.endedAt) {
    return;
  }
  const { run } = card;
  write(dialog.querySelector("[data-which]"), `${run.language}, key ${run.key}, ${age(run.seconds)} old`);
  dialog.returnValue = "";
  dialog.addEventListener(
    "close",
    () => {
      if (dialog.returnValue === "stop") {
        stop(card);
      }
    },
    { once: true },
  );
  dialog.showModal();
}

async function stop(card) {
  try {
    const { message } = await ask(card.run.stop, { method: "POST" });
    say(message);
    card.run.stopping = true;
    update(card, card.run);
  } catch (error) {
    say(error instanceof Refused ? error.message : "It could not be stopped: the server does not answer.", "trouble");
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") {
    look();
  }
});
look();
