// A signalling client for the browser: one WebSocket to the relay, JSON text frames, nothing to install.
//
//   const signaling = new SignalingClient("wss://relay.example/ws", { room: "demo", name: "Ada", token });
//   signaling.addEventListener("offer", ({ detail }) => …);     // every message type is an event; detail is the message
//   const { id, peers } = await signaling.connect();
//   signaling.send({ type: "message", data: "hello" });         // `to` one peer, or to all without it
//   signaling.close();                                          // leaves the room
//
// The session outlives its connection: messages are numbered and acknowledged, and after an outage the client comes back
// by itself, resumes, and each side sends again what the other missed: nothing lost, doubled or out of order.
//
// If the outage was longer, or more was said, than the relay's window holds, the session is over and a new one begins:
// "session-lost" {reason, undelivered} tells which messages were not acknowledged, "peer-left" comes for everyone who was
// there, and then a second "welcome" with another id and whoever is there now.
//
// Events of its own: "reconnecting" {attempt}, "resumed" {resumed}, "closed" {reason}.

const CONNECT_TIMEOUT = 10000;
const PING_EVERY = 8000; // of silence
const PONG_WITHIN = 5000;
const WINDOW = 1000; // messages kept for sending again
const ACK_EVERY = 16;
const ACK_EVERY_SIZE = 65536; // characters: the relay's window may be full before the messages are many
const ACK_DELAY = 250;
const MOVING = 4001; // closes a connection and keeps the session
const SUPERSEDED = 4009;
const FINAL_ERRORS = new Set(["unauthorized", "token-expired", "not-allowed", "invalid-message", "too-large"]);
const ENDING_ERRORS = new Set(["unavailable", "session-lost", "too-slow", "superseded"]);

export class SignalingClient extends EventTarget {
  #url;
  #token; // a string, or a function (may be async) that gives a fresh one
  #join;
  #socket = null; // the connection in use, or being made
  #entered = false; // whether it has been welcomed
  #welcomed = false; // whether any has been
  #session = null; // {token} that resumes
  #numbered = true; // false with a relay that does not resume
  #unacknowledged = []; // [seq, message]
  #seq = 0;
  #received = 0;
  #acknowledged = 0;
  #unconfirmedSize = 0;
  #timers = { ack: null, retry: null, alive: null, token: null };
  #heard = 0;
  #attempt = 0;
  #closed = false;
  #lastError = null;
  #wake = () => this.#hurry();

  /**
   * @param {string} url ws://…/ws or wss://…/ws
   * @param {{room: string, name?: string, token?: string | (() => string | Promise<string>) | null, metadata?: object}} options
   */
  constructor(url, { room, name = "", token = null, metadata = null }) {
    super();
    this.#url = url;
    this.#token = token;
    this.#join = { type: "join", room, name, resumable: true, session: secret() };
    if (metadata) this.#join.metadata = metadata;
    this.id = null;
    this.room = room;
    this.peers = new Map(); // everyone else in the room, by id, as of the last message
  }

  /** Joins; resolves with the relay's welcome {id, room, peers}. Rejects with an Error whose message says what to do. */
  connect() {
    return new Promise((resolve, reject) => {
      const done = ({ detail }) => {
        this.removeEventListener("closed", refused);
        resolve(detail);
      };
      const refused = ({ detail }) => {
        this.removeEventListener("welcome", done);
        reject(new Error(detail.reason));
      };
      this.addEventListener("welcome", done, { once: true });
      this.addEventListener("closed", refused, { once: true });
      addEventListener("online", this.#wake);
      this.#open();
    });
  }

  /** Sends a message; while the relay is away it is kept. Throws when the client is closed or too much is waiting. */
  send(message) {
    if (this.#closed) throw new Error("The signalling client is closed.");
    if (this.#unacknowledged.length >= WINDOW) {
      throw new Error(`The relay has been away too long: ${WINDOW} messages are waiting.`);
    }
    const seq = ++this.#seq;
    this.#unacknowledged.push([seq, message]);
    if (this.#entered) this.#transmit(seq, message);
  }

  /** Changes what the others see of this peer: they get "peer-updated". */
  update({ name, metadata }) {
    if (name !== undefined) this.#join.name = name;
    if (metadata !== undefined) this.#join.metadata = metadata;
    this.send({ type: "update", name, metadata });
  }

  /** Leaves the room for good. */
  close() {
    if (this.#closed) return;
    if (this.#entered) this.#say({ type: "leave" });
    this.#finish("left", 1000);
  }

  // Connecting

  async #open() {
    let socket;
    try {
      socket = new WebSocket(this.#url);
    } catch (error) {
      this.#finish(`${this.#url} is not an address of a relay: ${error.message}`);
      return;
    }
    this.#socket = socket;
    this.#entered = false;
    this.#lastError = null;
    const giveUp = setTimeout(() => socket.close(), CONNECT_TIMEOUT);
    const current = () => socket === this.#socket;
    socket.onopen = async () => {
      const token = await this.#freshToken();
      if (!current() || socket.readyState !== WebSocket.OPEN) return;
      const first = this.#session
        ? { type: "resume", session: this.#session.token, received: this.#received, token }
        : { ...this.#join, token };
      socket.send(JSON.stringify(first));
    };
    socket.onmessage = ({ data }) => {
      if (!current()) return;
      this.#heard = performance.now();
      let message;
      try {
        message = JSON.parse(data);
      } catch {
        return;
      }
      if (message.type === "welcome") clearTimeout(giveUp);
      this.#take(message, socket, data.length);
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(giveUp);
      if (current()) this.#lost(code, reason);
    };
  }

  async #freshToken() {
    if (typeof this.#token !== "function") return this.#token;
    try {
      return await this.#token();
    } catch (error) {
      console.warn("no fresh access token:", error);
      return null;
    }
  }

  #lost(code, reason) {
    this.#leaveConnection();
    if (this.#closed) return;
    const said = this.#lastError?.message || reason;
    if (!this.#welcomed) {
      this.#finish(said || `The relay at ${this.#url} cannot be reached. Check the address, and that the relay is running.`);
      return;
    }
    if (code === SUPERSEDED || FINAL_ERRORS.has(this.#lastError?.code)) {
      this.#finish(said || "the relay closed the session");
      return;
    }
    this.#attempt += 1;
    this.#emit("reconnecting", { attempt: this.#attempt });
    // At once the first time (a relay that restarts, a short blip), then twice as long each time, with jitter.
    const ceiling = this.#attempt === 1 ? 200 : Math.min(8000, 250 * 2 ** this.#attempt);
    const least = this.#attempt === 1 ? 0 : ceiling / 2;
    this.#timers.retry = setTimeout(() => this.#open(), least + Math.random() * (ceiling - least));
  }

  /** Gives the present connection up, and makes another one at once. */
  #move() {
    const socket = this.#socket;
    this.#leaveConnection();
    socket?.close(MOVING);
    if (!this.#closed) this.#open();
  }

  #hurry() {
    if (this.#closed) return;
    if (this.#socket) {
      // The network has changed: find out now whether this connection still lives.
      this.#ask();
      return;
    }
    clearTimeout(this.#timers.retry);
    this.#open();
  }

  #leaveConnection() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = { ack: null, retry: null, alive: null, token: null };
    this.#socket = null;
    this.#entered = false;
  }

  #finish(reason, code = 1000) {
    this.#closed = true;
    const socket = this.#socket;
    this.#leaveConnection();
    removeEventListener("online", this.#wake);
    socket?.close(code);
    this.#emit("closed", { reason });
  }

  // Staying connected

  #watch() {
    clearTimeout(this.#timers.alive);
    this.#timers.alive = setTimeout(() => {
      const silent = performance.now() - this.#heard;
      if (silent < PING_EVERY) this.#watch();
      else this.#ask();
    }, PING_EVERY);
  }

  #ask() {
    if (!this.#entered) return;
    const asked = performance.now();
    this.#say({ type: "ping" });
    clearTimeout(this.#timers.alive);
    this.#timers.alive = setTimeout(() => {
      if (this.#heard >= asked) {
        this.#watch();
      } else {
        this.#attempt += 1;
        this.#emit("reconnecting", { attempt: this.#attempt });
        this.#move();
      }
    }, PONG_WITHIN);
  }

  #keepTokenFresh(expires) {
    clearTimeout(this.#timers.token);
    if (!expires || typeof this.#token !== "function") return;
    const delay = Math.max(0, (expires * 1000 - Date.now()) * 0.8);
    this.#timers.token = setTimeout(
      async () => {
        const token = await this.#freshToken();
        if (token && this.#entered) this.#say({ type: "refresh", token });
        else this.#keepTokenFresh(expires);
      },
      Math.min(delay, 2 ** 31 - 1) || 1000,
    );
  }

  // Receiving

  #take(message, socket, size) {
    if (message.type === "ack") {
      this.#forget(message.seq);
      return;
    }
    if (message.seq) {
      if (message.seq <= this.#received) return; // sent again, although it had arrived
      if (message.seq !== this.#received + 1) {
        this.#move();
        return;
      }
      this.#received = message.seq;
      this.#acknowledge(size);
    }
    switch (message.type) {
      case "welcome":
        this.#enter(message);
        return;
      case "going-away":
        setTimeout(() => socket === this.#socket && this.#move(), Math.random() * message.seconds * 500);
        return;
      case "refreshed":
        this.#keepTokenFresh(message.expires);
        return;
      case "pong":
        return;
      case "error":
        if (message.code === "resume-failed" && !this.#entered) {
          this.#startAnew(message.message);
          this.#freshToken().then((token) => socket.send(JSON.stringify({ ...this.#join, token })));
          return;
        }
        this.#lastError = message;
        if (!this.#entered && message.code !== "rate-limited") {
          socket.close(); // not let in: whether to try again is decided by why
          return;
        }
        if (!message.seq && ENDING_ERRORS.has(message.code)) return;
        break;
      case "peer-joined":
      case "peer-updated": {
        const { type, seq, ...peer } = message;
        const known = this.peers.has(message.id);
        this.peers.set(message.id, peer);
        if (known && type === "peer-joined") return; // the answer to a repeated join showed it already
        break;
      }
      case "peer-left":
        if (!this.peers.delete(message.id)) return;
    }
    this.#emit(message.type, message);
  }

  #enter(message) {
    const again = this.#welcomed;
    this.#welcomed = this.#entered = true;
    this.#attempt = 0;
    this.#lastError = null;
    this.id = message.id;
    this.#session = message.resume ?? null;
    this.#numbered = this.#session !== null;
    if (message.resumed) this.#forget(message.received ?? 0);
    else this.peers = new Map(message.peers.map((peer) => [peer.id, peer]));
    for (const [seq, kept] of [...this.#unacknowledged]) this.#transmit(seq, kept);
    this.#watch();
    this.#keepTokenFresh(message.expires);
    if (!message.resumed) this.#emit("welcome", message);
    if (again) this.#emit("resumed", { resumed: Boolean(message.resumed) });
  }

  #startAnew(reason) {
    // What was meant for the old session is void: the peers know us under another id from now on.
    const undelivered = this.#unacknowledged.map(([, message]) => message);
    const gone = [...this.peers.keys()];
    this.#session = null;
    this.#unacknowledged = [];
    this.#seq = this.#received = this.#acknowledged = 0;
    this.#join.session = secret();
    this.peers = new Map();
    this.#emit("session-lost", { type: "session-lost", reason, undelivered });
    for (const id of gone) this.#emit("peer-left", { type: "peer-left", id, reason: "session-lost" });
  }

  #acknowledge(size) {
    this.#unconfirmedSize += size;
    const now = () => {
      clearTimeout(this.#timers.ack);
      this.#timers.ack = null;
      if (!this.#entered || this.#acknowledged === this.#received) return;
      this.#acknowledged = this.#received;
      this.#unconfirmedSize = 0;
      this.#say({ type: "ack", seq: this.#received });
    };
    if (this.#received - this.#acknowledged >= ACK_EVERY || this.#unconfirmedSize >= ACK_EVERY_SIZE) now();
    else this.#timers.ack ??= setTimeout(now, ACK_DELAY);
  }

  // Sending

  #transmit(seq, message) {
    this.#say(this.#numbered ? { ...message, seq } : message);
    if (!this.#numbered) this.#forget(seq);
  }

  #say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #forget(seq) {
    while (this.#unacknowledged.length && this.#unacknowledged[0][0] <= seq) this.#unacknowledged.shift();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function secret() {
  return [...crypto.getRandomValues(new Uint8Array(18))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The relay's ICE servers (`{iceServers}` of /api/turn-credentials), or none where the relay has none to give. */
export async function fetchIceServers(url, token = null) {
  try {
    const answer = await fetch(url, { headers: token ? { authorization: `Bearer ${token}` } : {} });
    if (!answer.ok) return [];
    return (await answer.json()).iceServers ?? [];
  } catch {
    return [];
  }
}
