// What happened when: candidates of both sides and state changes, in milliseconds since the start of the call.

const KEPT = 400; // entries; the oldest go first
const TYPES = ["host", "srflx", "prflx", "relay"];

export class Timeline {
  #origin = performance.now();
  #dots = [];

  constructor({ log, lanes, end }) {
    this.log = log;
    this.lanes = lanes;
    this.end = end;
  }

  start() {
    this.#origin = performance.now();
    this.#dots = [];
    this.log.replaceChildren();
    for (const track of this.lanes.querySelectorAll(".track")) track.replaceChildren();
    this.end.textContent = "–";
  }

  now() {
    return performance.now() - this.#origin;
  }

  /** @param {"local"|"remote"} side @param {RTCIceCandidate} candidate */
  candidate(side, candidate) {
    const { type, protocol, address, port, tcpType, relatedAddress } = candidate;
    const where = address ? `${/^[^[].*:/.test(address) ? `[${address}]` : address}:${port}` : "address hidden";
    const from = relatedAddress && !/^(0\.0\.0\.0|::)$/.test(relatedAddress) ? ` via ${relatedAddress}` : "";
    this.add({
      lane: side,
      at: this.now(),
      kind: type,
      title: type ?? "candidate",
      text: `${protocol ?? ""}${tcpType ? ` ${tcpType}` : ""} ${where}${from}`,
    });
  }

  add({ lane, at, kind, title = "", text }) {
    const item = document.createElement("li");
    if (kind === "error") item.className = "error";
    const time = document.createElement("time");
    time.textContent = `${Math.round(at)} ms`;
    const side = document.createElement("span");
    side.className = "side-of";
    side.textContent = lane;
    const what = document.createElement("span");
    what.className = "what";
    if (title) {
      const strong = document.createElement("b");
      strong.textContent = `${title} `;
      if (TYPES.includes(kind)) strong.className = kind;
      what.append(strong);
    }
    what.append(text);
    item.append(time, side, what);
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    this.log.append(item);
    if (this.log.childElementCount > KEPT) this.log.firstElementChild.remove();
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
    this.#dot(lane, at, kind, `${Math.round(at)} ms: ${title} ${text}`);
  }

  #dot(lane, at, kind, title) {
    const dot = document.createElement("i");
    if (TYPES.includes(kind)) dot.className = kind;
    dot.title = title;
    this.lanes.querySelector(`[data-lane="${lane}"] .track`).append(dot);
    this.#dots.push({ dot, at });
    if (this.#dots.length > KEPT) this.#dots.shift().dot.remove();
    // A square-root scale: the first second is where candidates trickle, and later events still fit.
    const last = Math.max(1000, this.#dots.at(-1).at);
    for (const each of this.#dots) each.dot.style.left = `${(100 * Math.sqrt(each.at / last)).toFixed(2)}%`;
    this.end.textContent = `${(last / 1000).toFixed(1)} s`;
  }
}
