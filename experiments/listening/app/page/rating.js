// The rating page. State flows one way: a slider changes `answers`, `answers` is kept in this browser at once, then sent.
// Online, each save carries the edit it builds on; the server refuses one that another window has saved over.
// Offline (the session is inside the page), ratings are kept in this browser alone, and the result is a downloaded file.

const find = (id) => document.getElementById(id);
const audio = find("audio");
const embedded = find("session");
const offline = embedded !== null;
const SAVE_AFTER_MS = 500;
const ENOUGH = 0.9; // of a clip played, before going on

let session;
let position = 1; // of the clip on screen, from 1; 0 is the welcome page, clips.length + 1 the end
let answers = {}; // position → {scores, done, listened_s, plays, edit, sent: [save ids on their way], dirty}
let timer = 0;
let sending = null;
let begun = false; // the rater has left the welcome page, here or in another browser
let agreed = false;
let played = 0; // seconds of this clip that were played without a jump
let lastTime = 0;

const storageKey = () => `keybed ${session.set_id} ${session.rater}`;
const blank = () => ({ scores: {}, done: false, listened_s: 0, plays: 0, edit: 0, sent: [], dirty: false });
const answer = () => (answers[position] ??= blank());
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

function keep() {
  const mine = Object.fromEntries(Object.entries(answers).filter(([, a]) => offline || a.dirty));
  try {
    localStorage.setItem(storageKey(), JSON.stringify({ position, mine, begun, agreed }));
  } catch {
    say("This browser keeps nothing on its own; do not close the page before all is saved.", "kept");
  }
}

function kept() {
  try {
    return { mine: {}, ...JSON.parse(localStorage.getItem(storageKey())) };
  } catch {
    return { mine: {} };
  }
}

async function begin() {
  session = offline ? JSON.parse(embedded.textContent) : await (await ask("session.json")).json();
  for (const [at, saved] of Object.entries(session.saved)) {
    answers[at] = { ...blank(), ...saved, sent: [saved.save_id] };
  }
  const before = kept();
  for (const [at, mine] of Object.entries(before.mine)) {
    const server = answers[at];
    // Kept here and not yet acknowledged: ours goes on, unless another window has saved since.
    if (!server || server.edit <= mine.edit || mine.sent.includes(server.save_id)) {
      answers[at] = { ...mine, edit: server ? server.edit : mine.edit };
    }
  }
  document.title = `Rate piano playing (${session.rater})`;
  agreed = session.welcome.agreed || (offline && before.agreed === true);
  begun = before.begun === true || Object.keys(answers).length > 0;
  build();
  welcome();
  show(agreed && begun ? firstOpen() : 0);
  if (Object.values(answers).some((a) => a.dirty)) send();
}

function firstOpen() {
  const open = session.clips.findIndex((_, i) => !answers[i + 1]?.done);
  return open < 0 ? session.clips.length + 1 : open + 1;
}

function welcome() {
  const { consent, contact, check, minutes } = session.welcome;
  const practice = session.clips.filter((c) => c.practice).length;
  const rated = session.clips.length - practice;
  const count = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;
  const time = minutes < 90 ? `${minutes} minutes` : `${(minutes / 60).toFixed(1)} hours`;
  find("welcome-length").textContent =
    `You will hear ${count(rated, "short clip")}${practice ? `, after ${count(practice, "practice clip")}` : ""}. ` +
    `It takes about ${time} in all${minutes > 40 ? "; do it in several sittings, with breaks" : ""}.`;
  find("volume").hidden = !check;
  find("consent").hidden = !consent;
  for (const words of consent.split(/\n\s*\n/)) {
    const paragraph = document.createElement("p");
    paragraph.textContent = words;
    find("consent-words").append(paragraph);
  }
  find("agreed").checked = agreed && consent !== "";
  for (const line of document.querySelectorAll(".contact")) {
    line.textContent = contact ? `Questions: ${contact}` : "";
    line.hidden = !contact;
  }
  for (const name of ["quiet", "loud"]) {
    find(name).addEventListener("click", () => {
      audio.src = `check/${name}.flac`;
      audio.play().catch((e) => welcomeNotice(`The clip does not play: ${e.message}`));
    });
  }
  const next = offline
    ? ["Download the file with your ratings (button below).", "Send it to the person who gave you this folder.", "Keep the file until they say that it has arrived."]
    : ["Nothing to send: your ratings are stored already. You can close this page."];
  next.push("All raters' ratings are put together. How far raters agree with each other is computed, and how far computer models agree with the raters.");
  next.push("Your name stands beside your ratings in the study's own files alone. Until the study ends, this page lets you change them.");
  for (const words of next) {
    const step = document.createElement("li");
    step.textContent = words;
    find("end-steps").append(step);
  }
}

function welcomeNotice(words) {
  find("welcome-notice").textContent = words;
  find("welcome-notice").hidden = !words;
}

async function leaveWelcome() {
  const { consent, consent_sha256, check } = session.welcome;
  if (check && !begun && !find("heard").checked) return welcomeNotice("Please play both clips, set the volume, and tick the box.");
  if (consent && !find("agreed").checked) return welcomeNotice("Please read the text of consent and tick the box, or close this page.");
  if (consent && !agreed && !offline) {
    try {
      const reply = await ask(`consent/${consent_sha256}`, { method: "PUT" });
      if (reply.status === 409) return welcomeNotice(await reply.text());
    } catch (error) {
      return welcomeNotice(`Your agreement could not be stored: ${error.message}. Try again.`);
    }
  }
  agreed = true;
  begun = true;
  show(firstOpen());
  find("main").focus({ preventScroll: true });
}

async function ask(url, options) {
  const reply = await fetch(url, options);
  if (!reply.ok && reply.status !== 409) throw Object.assign(new Error(await reply.text()), { status: reply.status });
  return reply;
}

function build() {
  session.scales.forEach((scale, i) => {
    const card = document.createElement("div");
    card.className = "scale";
    card.dataset.name = scale.name;
    card.innerHTML =
      '<div class="line head"><h2><span></span><b></b></h2><label class="tell"><input type="checkbox">cannot tell</label>' +
      '<output></output></div><p></p>' +
      '<input type="range" min="0" max="100" step="1"><div class="line ends"><span></span><span></span></div>';
    card.querySelector("h2 span").textContent = i + 1;
    card.querySelector("h2 b").textContent = scale.title;
    card.querySelector("p").textContent = scale.listen_for;
    const [low, high] = card.querySelectorAll(".ends span");
    low.textContent = scale.low;
    high.textContent = scale.high;
    const slider = card.querySelector("input[type=range]");
    slider.setAttribute("aria-label", `${scale.title}, from ${scale.low} to ${scale.high}`);
    const set = () => change(scale.name, Number(slider.value));
    slider.addEventListener("input", set);
    slider.addEventListener("pointerup", set); // a tap on the middle counts, though it moves nothing
    const tell = card.querySelector("input[type=checkbox]");
    tell.addEventListener("change", () => change(scale.name, tell.checked ? null : undefined));
    find("scales").append(card);
  });
}

function change(name, value) {
  const mine = answer();
  if (value === undefined) {
    delete mine.scores[name];
    mine.done = false;
  } else if (mine.scores[name] === value) return;
  else mine.scores[name] = value;
  touch();
  paint();
}

function touch() {
  const mine = answer();
  mine.dirty = true;
  mine.version = (mine.version ?? 0) + 1;
  keep();
  if (offline) return say("Kept in this browser", "good");
  say("Saving…"); // the shown state is no longer saved
  clearTimeout(timer);
  timer = setTimeout(send, SAVE_AFTER_MS);
}

function send() {
  if (offline) return Promise.resolve();
  clearTimeout(timer);
  sending ??= sendAll().finally(() => (sending = null));
  return sending;
}

async function sendAll() {
  for (;;) {
    const at = Object.keys(answers).find((p) => answers[p].dirty);
    if (!at) return;
    const mine = answers[at];
    const { version } = mine;
    const save_id = newId();
    mine.sent = [...mine.sent, save_id]; // all since the last reply: any of them may have arrived
    keep();
    say("Saving…");
    const { scores, done, listened_s, plays } = mine;
    const body = JSON.stringify({ save_id, edit: mine.edit + 1, scores, done, listened_s, plays });
    try {
      const reply = await ask(`ratings/${at}`, { method: "PUT", body, headers: { "content-type": "application/json" } });
      const server = await reply.json();
      if (reply.status === 409 && !mine.sent.includes(server.save_id) && server.edit > 0) {
        answers[at] = { ...blank(), ...server, sent: [server.save_id] };
        notice(`Clip ${at} was changed in another window; this page now shows that.`);
        if (Number(at) === position) paint();
      } else {
        mine.edit = server.edit;
        mine.dirty = reply.status === 409 || mine.version !== version;
        if (reply.status !== 409) mine.sent = [save_id];
      }
      keep();
      if (!Object.values(answers).some((a) => a.dirty)) say("Saved", "good");
    } catch (error) {
      const hopeless = error.status >= 400 && error.status < 500 && error.status !== 429;
      say(hopeless ? `Not saved: ${error.message}` : "No connection: kept in this browser, trying again", "kept");
      if (!hopeless) timer = setTimeout(send, 3000);
      return;
    }
  }
}

function show(at) {
  position = Math.min(Math.max(at, 0), session.clips.length + 1);
  const end = position > session.clips.length;
  const start = position === 0;
  welcomeNotice("");
  find("welcome").hidden = !start;
  find("main").hidden = end || start;
  find("end").hidden = !end;
  document.querySelector(".player").hidden = end || start;
  notice("");
  document.querySelectorAll(".missing").forEach((card) => card.classList.remove("missing"));
  audio.pause();
  played = 0;
  lastTime = 0;
  if (!end && !start) audio.src = `audio/${position}.flac`;
  else audio.removeAttribute("src");
  if (end) finish();
  keep();
  paint();
  window.scrollTo(0, 0);
}

function paint() {
  const n = session.clips.length;
  const done = session.clips.filter((_, i) => answers[i + 1]?.done).length;
  const practice = session.clips.filter((c) => c.practice).length;
  const clip = session.clips[position - 1];
  find("where").textContent = position === 0
    ? "Before you begin"
    : !clip
    ? "All clips rated"
    : clip.practice
      ? `Practice ${position} of ${practice}`
      : `Clip ${position - practice} of ${n - practice}`;
  find("bar").style.width = `${(100 * done) / n}%`;
  find("left").textContent = done < n ? `${n - done} to go` : "all rated";
  find("begin").hidden = position !== 0;
  find("back").hidden = position === 0;
  find("next").hidden = !clip;
  find("download").hidden = !(offline && position > 0 && (!clip || done > 0));
  if (!clip) return;
  const shown = session.scales.find((s) => s.name === clip.shows);
  find("shows").hidden = !shown;
  if (shown) {
    find("shows").textContent = shown.name === "overall_interpretation"
      ? "This clip is an untouched performance: all scales can be high."
      : `This clip is for ${shown.title.toLowerCase()}: something is wrong with it here. ${shown.listen_for}`;
  }
  find("hint").textContent = listened()
    ? "Heard to the end. Replay as often as you like."
    : clip.practice
      ? "Practice: shows how good and bad it gets, and does not count."
      : "Listen once to the end, then rate. Replay as often as you like.";
  const mine = answer();
  document.querySelectorAll(".scale").forEach((card) => {
    const value = mine.scores[card.dataset.name];
    const slider = card.querySelector("input[type=range]");
    const set = typeof value === "number";
    slider.classList.toggle("unset", !set);
    slider.value = set ? value : 50;
    slider.setAttribute("aria-valuetext", set ? String(value) : value === null ? "cannot tell" : "not rated yet");
    card.classList.toggle("untold", value === null);
    card.classList.toggle("shown", card.dataset.name === clip.shows);
    card.querySelector("input[type=checkbox]").checked = value === null;
    card.querySelector("output").textContent = set ? value : value === null ? "?" : "–";
    if (value !== undefined) card.classList.remove("missing");
  });
  find("next").setAttribute("aria-disabled", String(missing().length > 0 || !listened()));
}

const missing = () => session.scales.filter((s) => answer().scores[s.name] === undefined);
const listened = () => answer().plays > 0 || answer().done;

async function next() {
  const open = missing();
  if (!listened()) return notice("Please listen to the clip to its end first.");
  if (open.length) {
    notice(`Still to rate: ${open.map((s) => s.title).join(", ")}.`);
    document.querySelectorAll(".scale").forEach((c) => c.classList.toggle("missing", open.some((s) => s.name === c.dataset.name)));
    document.querySelector(".scale.missing input[type=range]").focus();
    return;
  }
  if (!answer().done) {
    answer().done = true;
    touch();
  }
  send();
  const first = position;
  show(position + 1);
  if (first < session.clips.length) audio.play().catch(() => {});
  find("main").focus({ preventScroll: true });
}

async function finish() {
  find("end-words").textContent = offline
    ? "Every clip is rated. Download the file and send it back; you may still go back and change anything."
    : "Every clip is rated. You may go back and change anything.";
  await send();
}

function download() {
  const ratings = {};
  for (const [at, a] of Object.entries(answers)) {
    if (Object.keys(a.scores).length === 0) continue;
    const { scores, done, listened_s, plays } = a;
    ratings[at] = { save_id: newId(), edit: 1, scores, done, listened_s, plays };
  }
  const { set_id, rater, token } = session;
  const { consent_sha256 } = session.welcome;
  const text = JSON.stringify({ format: "keybed-ratings-1", set_id, rater, token, consent_sha256, ratings });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `ratings ${rater}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function say(words, kind = "") {
  find("saved").textContent = words;
  find("saved").className = kind;
}

function notice(words) {
  find("notice").textContent = words;
  find("notice").hidden = !words;
  if (words) find("notice").scrollIntoView({ block: "center" });
}

const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
const toggle = () => (audio.paused ? audio.play().catch((e) => notice(`The clip does not play: ${e.message}`)) : audio.pause());

audio.addEventListener("timeupdate", () => {
  if (position === 0) return;
  const step = audio.currentTime - lastTime;
  if (step > 0 && step < 2) played += step; // a jump is not listening
  lastTime = audio.currentTime;
  const length = audio.duration || session.clips[position - 1]?.seconds || 1;
  find("seek").value = (1000 * audio.currentTime) / length;
  find("clock").textContent = `${clock(audio.currentTime)} / ${clock(length)}`;
});
audio.addEventListener("ended", () => {
  if (position === 0) return;
  const mine = answer();
  if (played >= ENOUGH * audio.duration - 0.3) {
    mine.plays += 1;
    mine.listened_s = Math.round((mine.listened_s + played) * 10) / 10;
    played = 0;
    touch();
    paint();
  }
  lastTime = 0;
});
audio.addEventListener("error", () => audio.getAttribute("src") && notice("This clip cannot be loaded. Reload the page; if that does not help, tell the person who sent you the link."));
for (const event of ["play", "pause"]) {
  audio.addEventListener(event, () => {
    find("play").setAttribute("aria-label", audio.paused ? "Play" : "Pause");
    find("play-shape").setAttribute("d", audio.paused ? "M7 4l13 8-13 8z" : "M6 4h4v16H6zM14 4h4v16h-4z");
  });
}
find("seek").addEventListener("input", (e) => {
  if (audio.duration) audio.currentTime = (e.target.value / 1000) * audio.duration;
  lastTime = audio.currentTime;
});
find("play").addEventListener("click", toggle);
find("next").addEventListener("click", next);
find("begin").addEventListener("click", leaveWelcome);
find("back").addEventListener("click", () => show(position - 1));
find("download").addEventListener("click", download);

document.addEventListener("keydown", (event) => {
  if (!session || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = document.activeElement;
  const button = at?.tagName === "BUTTON" || at?.tagName === "SUMMARY";
  const card = at?.closest?.(".scale");
  const sliders = document.querySelectorAll(".scale input[type=range]");
  const key = event.key;
  if (position === 0) {
    if (key !== "Enter" || button) return;
    leaveWelcome();
  } else if (key === " " && !button && at?.type !== "checkbox") toggle();
  else if (key === "r" || key === "R") {
    audio.currentTime = 0;
    lastTime = 0;
    played = 0;
    audio.play().catch(() => {});
  } else if (/^[1-8]$/.test(key) && position <= session.clips.length) {
    sliders[Number(key) - 1].focus();
    sliders[Number(key) - 1].closest(".scale").scrollIntoView({ block: "center" });
  } else if ((key === "x" || key === "X") && card) {
    change(card.dataset.name, answer().scores[card.dataset.name] === null ? undefined : null);
  } else if (key === "Enter" && !button && position <= session.clips.length) next();
  else if (key === "Backspace") show(position - 1);
  else return;
  event.preventDefault();
});
window.addEventListener("online", send);
window.addEventListener("beforeunload", (event) => {
  if (!offline && Object.values(answers).some((a) => a.dirty)) {
    keep();
    send();
    event.preventDefault();
  }
});
document.addEventListener("visibilitychange", () => document.hidden && session && send());

begin().catch((error) => notice(`The page cannot start: ${error.message}`));
