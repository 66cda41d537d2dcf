"use strict";
// The blind test of the page of `keybed listen`: pairs drawn from the page's own clips, and a tally that this browser keeps.
(() => {
  const BLIND = JSON.parse(document.getElementById("blind-data").textContent);
  const $ = (id) => document.getElementById(id);
  const box = $("blind"), says = [...box.querySelectorAll(".say")];
  const clock = new Keybed.TogetherClock([], BLIND.seconds);
  const group = new Keybed.Group(box, clock, []);
  group.name = "blind";
  let pair = null, heard = new Set(), tally = read();

  function read() {
    try {
      const kept = JSON.parse(localStorage.getItem(BLIND.key) || "{}");
      const whole = (n) => Number.isInteger(n) && n >= 0;
      return Object.fromEntries(Object.entries(kept).filter(([, v]) => Array.isArray(v) && v.length === 2 && v.every(whole)));
    } catch {
      return {};
    }
  }

  function keep() {
    try {
      localStorage.setItem(BLIND.key, JSON.stringify(tally));
      $("blind-kept").textContent = "The tally stays in this browser.";
    } catch {
      $("blind-kept").textContent = "This browser keeps nothing: the tally ends with this page.";
    }
  }

  const below = (n) => crypto.getRandomValues(new Uint32Array(1))[0] % n;

  function draw() {
    const wanted = $("blind-axis").value;
    const axes = BLIND.axes.filter((axis) => axis.degraded.length && (!wanted || axis.name === wanted));
    says.forEach((button) => { button.disabled = true; });
    heard = new Set();
    pair = null;
    if (!axes.length) {
      $("blind-answer").textContent = "No clip of this axis on this page is degraded enough for a test.";
      clock.replace([]);
      return;
    }
    const axis = axes[below(axes.length)], degraded = axis.degraded[below(axis.degraded.length)], side = below(2);
    const sounds = [axis.pristine, degraded.sound];
    if (side === 0) sounds.reverse();
    pair = { axis, degraded, side };
    $("blind-answer").textContent = "";
    clock.replace(sounds.map((id) => () => $(id).textContent));
  }

  function answer(side) {
    if (!pair) return;
    const right = side === pair.side, [was, of] = tally[pair.axis.name] || [0, 0];
    tally[pair.axis.name] = [was + (right ? 1 : 0), of + 1];
    keep();
    const line = $("blind-answer"), word = document.createElement("span");
    word.className = right ? "right" : "wrong";
    word.textContent = right ? "Right. " : "Wrong. ";
    const { title, name } = pair.axis, link = document.createElement("a");
    link.href = `#${name}`;
    link.textContent = "Hear it with its roll";
    line.replaceChildren(word, `${"XY"[pair.side]} is degraded: ${title}, ${pair.degraded.words} `, link, ".");
    says.forEach((button) => { button.disabled = true; });
    pair = null;
    show();
  }

  function show() {
    const rows = BLIND.axes.filter((axis) => tally[axis.name]).map((axis) => [axis.title, ...tally[axis.name]]);
    const sum = (k) => rows.reduce((total, row) => total + row[k], 0);
    if (rows.length !== 1) rows.push(["all", sum(1), sum(2)]);
    $("blind-tally").replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr");
      row.forEach((value, k) => {
        const cell = line.appendChild(document.createElement("td"));
        cell.textContent = value;
        if (k) cell.className = "n";
      });
      return line;
    }));
  }

  group.onshow = (now) => {
    $("blind-bar").style.transform = `scaleX(${now / BLIND.seconds})`;
    if (clock.playing) heard.add(clock.chosen);
    if (pair && heard.size === 2) says.forEach((button) => { button.disabled = false; });
  };
  says.forEach((button, k) => button.addEventListener("click", () => answer(k)));
  $("blind-new").addEventListener("click", draw);
  $("blind-axis").addEventListener("change", draw);
  $("blind-clear").addEventListener("click", () => { tally = {}; keep(); show(); });
  show();
  draw();
})();
