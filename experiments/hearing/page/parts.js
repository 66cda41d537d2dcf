"use strict";
// The parts of every page with sound: a piano roll, sounds that play together and switch without a gap, one sound in an audio
// element, and the group that wires them to buttons and keys. Times are seconds; the data of a roll are milliseconds.
const Keybed = (() => {
  const BLACK = new Set([1, 3, 6, 8, 10]);
  const LEFT = 30, TOP = 14, PEDAL = 26, GAP = 5, BOTTOM = 3;
  const MARKS = ["--roll-note", "--roll-mark", "--roll-louder", "--roll-softer", "--roll-wrong"];
  const PLAY = '<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M4 2l14 8-14 8z"/></svg>';
  const PAUSE = '<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M4 2h4v16H4zM12 2h4v16h-4z"/></svg>';

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function time(seconds) {
    const tenths = Math.round(10 * seconds);
    return tenths < 600 ? (tenths / 10).toFixed(1) : `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
  }

  // A piano roll with a pedal lane and a cursor. range: [lowest, highest pitch]; view: [first, last second] that is shown.
  class Roll {
    constructor(box, data, range) {
      this.box = box;
      this.data = data;
      this.range = range;
      this.view = [0, data.ms / 1000];
      this.time = 0;
      this.onseek = () => {};
      this.canvas = box.appendChild(document.createElement("canvas"));
      this.cursor = box.appendChild(document.createElement("div"));
      this.cursor.className = "cursor";
      box.setAttribute("role", "slider");
      box.tabIndex = 0;
      box.setAttribute("aria-valuemin", "0");
      box.setAttribute("aria-valuemax", String(data.ms / 1000));
      new ResizeObserver(() => this.draw()).observe(box);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
      box.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        box.setPointerCapture(event.pointerId);
        this.onseek(this.secondsAt(event));
      });
      box.addEventListener("pointermove", (event) => {
        if (box.hasPointerCapture(event.pointerId)) this.onseek(this.secondsAt(event));
      });
      this.show(0);
    }

    x(seconds) {
      return LEFT + ((seconds - this.view[0]) / (this.view[1] - this.view[0])) * (this.canvas.clientWidth - LEFT);
    }

    secondsAt(event) {
      const x = event.clientX - this.canvas.getBoundingClientRect().left;
      const share = (x - LEFT) / (this.canvas.clientWidth - LEFT);
      return clamp(this.view[0] + share * (this.view[1] - this.view[0]), 0, this.data.ms / 1000);
    }

    show(seconds) {
      this.time = seconds;
      const visible = seconds >= this.view[0] - 1e-9 && seconds <= this.view[1] + 1e-9;
      this.cursor.style.visibility = visible ? "visible" : "hidden";
      this.cursor.style.transform = `translateX(${this.x(seconds)}px)`;
      const spoken = seconds.toFixed(1);
      if (this.box.getAttribute("aria-valuenow") !== spoken) {
        this.box.setAttribute("aria-valuenow", spoken);
        this.box.setAttribute("aria-valuetext", `${spoken} seconds`);
      }
    }

    // Without a sound there is nothing to seek.
    still() {
      this.cursor.remove();
      this.box.removeAttribute("tabindex");
      this.box.setAttribute("role", "img");
      this.box.style.cursor = "default";
    }

    look(first, last) {
      this.view = [first, last];
      this.draw();
    }

    draw() {
      const width = this.canvas.clientWidth, height = this.canvas.clientHeight, ratio = window.devicePixelRatio || 1;
      if (!width || !height) return;
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      const pen = this.canvas.getContext("2d"), style = getComputedStyle(this.box);
      const colour = (name) => style.getPropertyValue(name).trim();
      pen.scale(ratio, ratio);
      pen.font = "10px system-ui, sans-serif";
      const [low, high] = this.range, bottom = height - PEDAL - GAP - BOTTOM, row = (bottom - TOP) / (high - low + 1);
      const y = (pitch) => TOP + (high - pitch) * row;
      pen.fillStyle = colour("--roll-black");
      for (let p = low; row > 4 && p <= high; p++) if (BLACK.has(p % 12)) pen.fillRect(LEFT, y(p), width - LEFT, row);
      pen.lineWidth = 1;
      pen.strokeStyle = colour("--roll-grid");
      pen.fillStyle = colour("--roll-text");
      const rule = (x0, y0, x1, y1) => { pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke(); };
      for (let p = low; p <= high; p++) {
        if (p % 12) continue;
        rule(LEFT, y(p) + row, width, y(p) + row);
        pen.fillText(`C${p / 12 - 1}`, 4, y(p) + row);
      }
      this._seconds(pen, width, height, rule);
      this._notes(pen, y, row, colour);
      this._pedal(pen, width, height, colour);
      this.show(this.time);
    }

    _seconds(pen, width, height, rule) {
      const [from, to] = this.view, wanted = (55 * (to - from)) / (width - LEFT);
      const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600].find((s) => s >= wanted) || 7200;
      for (let s = Math.ceil(from / step) * step; s < to; s += step) {
        rule(this.x(s), TOP, this.x(s), height);
        const text = s < 60 ? `${s} s` : `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
        if (this.x(s) + 30 < width) pen.fillText(text, this.x(s) + 2, 10);
      }
    }

    _notes(pen, y, row, colour) {
      const from = 1000 * this.view[0], to = 1000 * this.view[1], thick = Math.max(row * 0.9, 3);
      const colours = MARKS.map(colour);
      for (const [on, off, pitch, velocity, mark] of this.data.notes) {
        if (off < from || on > to) continue;
        const left = Math.max(this.x(on / 1000), LEFT), right = this.x(off / 1000);
        pen.globalAlpha = 0.2 + (0.8 * velocity) / 127;
        pen.fillStyle = colours[mark];
        pen.fillRect(left, y(pitch), Math.max(right - left, 1.5), thick);
        pen.globalAlpha = 1;
        if (mark) {
          pen.strokeStyle = colours[mark];
          pen.strokeRect(left + 0.5, y(pitch) + 0.5, Math.max(right - left - 1, 1), Math.max(thick - 1, 1));
        }
        if (mark === 2 || mark === 3) {
          const way = mark === 2 ? -1 : 1, middle = y(pitch) + thick / 2;
          pen.beginPath();
          pen.moveTo(left - 4, middle - 3 * way);
          pen.lineTo(left + 4, middle - 3 * way);
          pen.lineTo(left, middle + 4 * way);
          pen.fill();
        }
      }
      pen.strokeStyle = colour("--roll-bar");
      pen.setLineDash([3, 2]);
      for (const [on, off, pitch] of this.data.bars || []) {
        if (off < from || on > to) continue;
        const left = Math.max(this.x(on / 1000), LEFT), right = this.x(off / 1000);
        pen.strokeRect(left + 0.5, y(pitch) + 0.5, Math.max(right - left - 1, 1), Math.max(thick - 1, 1));
      }
      pen.setLineDash([]);
    }

    _pedal(pen, width, height, colour) {
      const top = height - PEDAL - BOTTOM, bottom = height - BOTTOM;
      pen.fillStyle = colour("--roll-text");
      pen.fillText("pedal", 2, bottom - PEDAL / 2 + 4);
      const level = (value) => bottom - (PEDAL * value) / 127;
      const steps = this.data.pedal, end = this.data.ms;
      for (let k = 0; k < steps.length; k++) {
        const [at, value] = steps[k], until = k + 1 < steps.length ? steps[k + 1][0] : end;
        const left = clamp(this.x(at / 1000), LEFT, width), right = clamp(this.x(until / 1000), LEFT, width);
        if (!value || right <= left) continue;
        pen.globalAlpha = value >= 64 ? 0.75 : 0.3;
        pen.fillStyle = colour("--roll-pedal");
        pen.fillRect(left, level(value), right - left, bottom - level(value));
      }
      pen.globalAlpha = 1;
      if (!this.data.pedalBefore) return;
      pen.fillStyle = colour("--roll-bar");
      for (const [first, last] of differing(steps, this.data.pedalBefore, end)) {
        const left = clamp(this.x(first / 1000), LEFT, width), right = clamp(this.x(last / 1000), LEFT, width);
        pen.globalAlpha = 0.35;
        pen.fillRect(left, top, right - left, PEDAL);
        pen.globalAlpha = 1;
        pen.fillRect(left, top, right - left, 3);
      }
    }
  }

  // Spans in which one pedal is down and the other is up.
  function differing(one, other, end) {
    const turns = (steps) => steps.map(([at, value]) => [at, value >= 64]);
    const events = [...turns(one).map((e) => [...e, 0]), ...turns(other).map((e) => [...e, 1])].sort((a, b) => a[0] - b[0]);
    const down = [false, false], spans = [];
    let since = null;
    for (const [at, value, which] of events) {
      down[which] = value;
      if (down[0] !== down[1] && since === null) since = at;
      if (down[0] === down[1] && since !== null) {
        if (at - since > 10) spans.push([since, at]);
        since = null;
      }
    }
    if (since !== null) spans.push([since, end]);
    return spans;
  }

  let context = null;
  function audioContext() {
    context = context || new AudioContext();
    return context;
  }

  // Sounds of equal length that start together; one is heard, and choosing another moves gains only.
  class TogetherClock {
    constructor(sounds, duration) {
      this.sounds = sounds;
      this.duration = duration;
      this.chosen = 0;
      this.playing = false;
      this.repeat = false;
      this.from = 0;
      this.onchange = () => {};
      this.buffers = null;
      this.nodes = [];
      this.started = 0;
    }

    get time() {
      if (!this.playing) return this.from;
      const at = this.from + context.currentTime - (context.outputLatency || 0) - this.startedAt;
      return clamp(at, this.from, this.duration);
    }

    async load() {
      if (!this.buffers) {
        const decode = (text) => audioContext().decodeAudioData(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
        this.buffers = await Promise.all(this.sounds.map((sound) => decode(sound())));
      }
    }

    async play() {
      await audioContext().resume();
      await this.load();
      this._stop();
      if (this.from >= this.duration - 0.01) this.from = 0;
      this.startedAt = context.currentTime + 0.03;
      const run = ++this.started;
      this.nodes = this.buffers.map((buffer, k) => {
        const source = context.createBufferSource(), gain = context.createGain();
        source.buffer = buffer;
        gain.gain.value = k === this.chosen ? 1 : 0;
        source.connect(gain).connect(context.destination);
        source.start(this.startedAt, this.from);
        return { source, gain };
      });
      this.nodes[0].source.onended = () => {
        if (run === this.started && this.playing) this._ended();
      };
      this.playing = true;
      this.onchange();
    }

    _ended() {
      this.playing = false;
      this.from = 0;
      if (this.repeat) this.play();
      else this.onchange();
    }

    _stop() {
      for (const { source, gain } of this.nodes) {
        source.onended = null;
        source.stop();
        gain.disconnect();
      }
      this.nodes = [];
    }

    pause() {
      if (!this.playing) return;
      this.from = this.time;
      this._stop();
      this.playing = false;
      this.onchange();
    }

    seek(seconds) {
      const again = this.playing;
      if (again) this._stop();
      this.playing = false;
      this.from = clamp(seconds, 0, this.duration);
      if (again) this.play();
      else this.onchange();
    }

    // Other sounds from now on, from their beginning.
    replace(sounds) {
      this.pause();
      [this.sounds, this.buffers, this.from, this.chosen] = [sounds, null, 0, 0];
      this.onchange();
    }

    choose(number) {
      this.chosen = number;
      this.nodes.forEach(({ gain }, k) => gain.gain.setTargetAtTime(k === number ? 1 : 0, context.currentTime, 0.004));
      this.onchange();
    }
  }

  // One sound in an <audio> element: for long recordings, and files that lie beside the page.
  class ElementClock {
    constructor(element, duration) {
      this.element = element;
      this.length = duration;
      this.chosen = 0;
      this.onchange = () => {};
      for (const name of ["play", "pause", "ended", "seeked", "loadedmetadata"]) element.addEventListener(name, () => this.onchange());
    }

    get playing() { return !this.element.paused && !this.element.ended; }
    get time() { return this.element.currentTime; }
    get duration() { return this.length; }
    set repeat(value) { this.element.loop = value; }
    async play() { await this.element.play(); }
    pause() { this.element.pause(); }
    seek(seconds) { this.element.currentTime = clamp(seconds, 0, this.length); this.onchange(); }
    choose() {}
  }

  const groups = [];

  // One box with a transport, rolls, and buttons that choose a clip. Keys inside it: Space, 1 to 9, arrows, Home.
  class Group {
    constructor(box, clock, rolls) {
      this.box = box;
      this.clock = clock;
      this.rolls = rolls;
      this.button = box.querySelector(".play");
      this.output = box.querySelector(".clock");
      this.choices = [...box.querySelectorAll(".choose")];
      this.onshow = () => {};
      if (this.button) this.button.addEventListener("click", () => this.toggle());
      this.choices.forEach((button, k) => button.addEventListener("click", () => this.choose(k)));
      const repeat = box.querySelector(".repeat input");
      if (repeat) repeat.addEventListener("change", () => { clock.repeat = repeat.checked; });
      rolls.forEach((roll, k) => { roll.onseek = (seconds) => { if (rolls.length > 1 && this.choices.length) clock.choose(k); clock.seek(seconds); }; });
      box.addEventListener("keydown", (event) => this.key(event));
      clock.onchange = () => this.changed();
      groups.push(this);
      this.changed();
    }

    async toggle() {
      if (this.starting) return;
      if (this.clock.playing) return this.clock.pause();
      for (const other of groups) if (other !== this) other.clock.pause();
      this.starting = true;
      try {
        await this.clock.play();
      } catch (error) {
        this.trouble(error);
      }
      this.starting = false;
    }

    trouble(error) {
      let line = this.box.querySelector(".trouble");
      if (!line) {
        line = this.box.querySelector(".transport").appendChild(document.createElement("span"));
        line.className = "trouble";
        line.setAttribute("role", "alert");
      }
      line.textContent = `This browser cannot play the sound (${error.message || error.name}).`;
    }

    choose(number) {
      if (number >= this.choices.length) return;
      this.clock.choose(number);
      if (!this.clock.playing) this.toggle();
    }

    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input:not([type=checkbox]), select, textarea")) return;
      const step = event.shiftKey ? 0.1 : this.clock.duration > 60 ? 5 : 1;
      const onButton = event.target.matches("button, summary, a, input");
      if (event.key === " " && !onButton) this.toggle();
      else if (/^[1-9]$/.test(event.key) && this.choices.length >= Number(event.key)) this.choose(Number(event.key) - 1);
      else if (event.key === "ArrowRight") this.clock.seek(this.clock.time + step);
      else if (event.key === "ArrowLeft") this.clock.seek(this.clock.time - step);
      else if (event.key === "Home") this.clock.seek(0);
      else return;
      event.preventDefault();
    }

    changed() {
      if (this.button) {
        const playing = this.clock.playing;
        this.button.innerHTML = playing ? PAUSE : PLAY;
        this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
      }
      this.choices.forEach((button, k) => button.setAttribute("aria-pressed", String(k === this.clock.chosen)));
      this.show();
      if (this.clock.playing && !this.running) {
        this.running = true;
        const frame = () => {
          this.show();
          this.running = this.clock.playing;
          if (this.running) requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
      }
    }

    show() {
      const now = this.clock.time;
      for (const roll of this.rolls) roll.show(now);
      if (this.output) this.output.textContent = `${time(now)} / ${time(this.clock.duration)} s`.replace(/(:\S+) s$/, "$1");
      this.onshow(now);
    }
  }

  // Wire every group of the page that has its data in <script class="group-data" data-for="id">.
  function wire() {
    for (const script of document.querySelectorAll("script.group-data")) {
      const data = JSON.parse(script.textContent), box = document.getElementById(script.dataset.for);
      const rolls = [...box.querySelectorAll(".roll")].map((place, k) => new Roll(place, data.rolls[k], data.range));
      const element = box.querySelector("audio");
      const texts = (data.sounds || []).map((id) => () => document.getElementById(id).textContent);
      if (!element && !texts.length) {
        rolls.forEach((roll) => roll.still());
        continue;
      }
      const seconds = data.rolls[0].ms / 1000;
      const group = new Group(box, element ? new ElementClock(element, seconds) : new TogetherClock(texts, seconds), rolls);
      group.name = script.dataset.for;
    }
    return groups;
  }

  return { Roll, TogetherClock, ElementClock, Group, groups, wire, time, clamp };
})();
