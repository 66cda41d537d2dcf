"use strict";
// The page of one scored recording: the timeline of every dimension, rolls of the whole and of what sounds now, and one sound.
(() => {
  const data = JSON.parse(document.getElementById("score-data").textContent);
  const box = document.getElementById("file"), $ = (selector) => box.querySelector(selector);
  const LEFT = 30, LOW = 45, HIGH = 100, DETAIL_S = 20, seconds = data.roll.ms / 1000;

  // Scores with their bands, one lane per dimension, over the same time axis as the roll below.
  class Lanes {
    constructor(place) {
      this.box = place;
      this.roll = new Keybed.Roll(place, { ms: data.roll.ms, notes: [], pedal: [] }, [60, 72]);
      this.roll.draw = () => this.draw();
    }

    set onseek(seek) { this.roll.onseek = seek; }
    show(now) { this.roll.show(now); }

    draw() {
      const canvas = this.roll.canvas, width = canvas.clientWidth, height = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
      if (!width || !height) return;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const pen = canvas.getContext("2d"), style = getComputedStyle(this.box), colour = (name) => style.getPropertyValue(name).trim();
      pen.scale(ratio, ratio);
      pen.font = "11px system-ui, sans-serif";
      const lane = height / data.dimensions.length, x = (s) => this.roll.x(s);
      data.dimensions.forEach((dimension, k) => {
        const top = k * lane + 18, bottom = (k + 1) * lane - 5;
        const y = (score) => bottom - ((Keybed.clamp(score, LOW, HIGH) - LOW) / (HIGH - LOW)) * (bottom - top);
        pen.fillStyle = colour("--roll-text");
        pen.fillText(dimension.title, LEFT + 4, k * lane + 13);
        pen.strokeStyle = colour("--roll-grid");
        for (const score of [50, 75, 100]) {
          pen.beginPath();
          pen.moveTo(LEFT, y(score));
          pen.lineTo(width, y(score));
          pen.stroke();
        }
        pen.fillText("100", 6, y(100) + 8);
        pen.fillText("50", 12, y(50));
        this._lane(pen, dimension, x, y, top, bottom, colour);
      });
      this.roll.show(this.roll.time);
    }

    _lane(pen, dimension, x, y, top, bottom, colour) {
      const half = data.hop / 2, middle = data.windows.map(([from, to]) => (from + to) / 2);
      dimension.score.forEach((score, w) => {
        const left = w ? Math.max((middle[w - 1] + middle[w]) / 2, middle[w] - half) : 0;
        const right = w + 1 < middle.length ? Math.min((middle[w] + middle[w + 1]) / 2, middle[w] + half) : seconds;
        if (score === null) {
          pen.globalAlpha = 0.55;
          pen.fillStyle = colour("--roll-grid");
          pen.fillRect(x(left), top, x(right) - x(left), bottom - top);
        } else {
          pen.globalAlpha = 0.28;
          pen.fillStyle = colour("--accent");
          const high = y(dimension.upper[w]);
          pen.fillRect(x(left), high, x(right) - x(left) + 0.4, y(dimension.lower[w]) - high);
        }
      });
      pen.globalAlpha = 1;
      pen.strokeStyle = colour("--accent");
      pen.fillStyle = colour("--accent");
      pen.lineWidth = 1.8;
      pen.beginPath();
      let drawing = false;
      dimension.score.forEach((score, w) => {
        if (score !== null && drawing) pen.lineTo(x(middle[w]), y(score));
        else if (score !== null) pen.moveTo(x(middle[w]), y(score));
        drawing = score !== null;
        if (drawing && dimension.score[w - 1] == null && dimension.score[w + 1] == null) pen.fillRect(x(middle[w]) - 2, y(score) - 2, 4, 4);
      });
      pen.stroke();
      pen.lineWidth = 1;
    }
  }

  const roll = (place, first, last) => {
    const made = new Keybed.Roll(place, data.roll, data.range);
    made.look(first, last);
    return made;
  };
  const overview = roll($(".overview"), 0, seconds), detail = roll($(".detail"), 0, Math.min(DETAIL_S, seconds));
  const lanes = new Lanes($(".lanes"));
  const passages = [...box.querySelectorAll(".passage .roll")].map((place) => roll(place, ...JSON.parse(place.dataset.view)));
  const audio = document.querySelector("audio");
  if (!audio) {
    for (const each of [overview, detail, lanes.roll, ...passages]) each.still();
    return;
  }
  const clock = new Keybed.ElementClock(audio, seconds);
  const group = new Keybed.Group(box, clock, [overview, detail, lanes, ...passages]);
  group.name = "file";
  let stopAt = null, shown = -1;

  const minutes = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;

  // The window whose middle is nearest: it is the one whose point the cursor stands at.
  function windowAt(now) {
    let best = 0;
    data.windows.forEach(([from, to], w) => {
      const [a, b] = data.windows[best];
      if (Math.abs((from + to) / 2 - now) < Math.abs((a + b) / 2 - now)) best = w;
    });
    return best;
  }

  group.onshow = (now) => {
    if (now < detail.view[0] || now > detail.view[1]) {
      const first = Math.max(0, Math.min(Math.floor(now / DETAIL_S) * DETAIL_S, seconds - Math.min(DETAIL_S, seconds)));
      detail.look(first, first + Math.min(DETAIL_S, seconds));
    }
    if (stopAt !== null && clock.playing && now >= stopAt) {
      stopAt = null;
      clock.pause();
    }
    const w = windowAt(now);
    if (w === shown || !data.windows.length) return;
    shown = w;
    const [from, to] = data.windows[w];
    $(".now caption").textContent = `Scores of the passage from ${minutes(from)} to ${minutes(to)}`;
    data.dimensions.forEach((dimension, k) => {
      const cells = $(".now tbody").rows[k].cells, score = dimension.score[w];
      cells[1].textContent = score === null ? "not judged" : score.toFixed(0);
      cells[2].textContent = score === null ? data.reasons[dimension.reason[w]] : `${dimension.lower[w].toFixed(0)}–${dimension.upper[w].toFixed(0)}`;
      cells[1].className = score === null ? "no" : "n";
    });
  };
  group.onshow(0);
  for (const button of box.querySelectorAll("[data-from]")) {
    button.addEventListener("click", async () => {
      clock.seek(Number(button.dataset.from));
      if (!clock.playing) await group.toggle();
      stopAt = Number(button.dataset.to);
    });
  }
  box.addEventListener("pointerdown", () => { stopAt = null; }, true);
})();
