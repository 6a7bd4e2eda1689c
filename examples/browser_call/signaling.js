// A signalling client for the browser: one WebSocket to the relay, JSON text frames, nothing to install.
//
//   const signaling = new SignalingClient("wss://relay.example/ws", { room: "demo", name: "Ada" });
//   signaling.addEventListener("offer", ({ detail }) => …);     // every message type is an event; detail is the message
//   const { id, peers } = await signaling.connect();
//   signaling.send({ type: "message", data: "hello" });         // `to` one peer, or to all without it
//   signaling.close();                                          // leaves the room
//
// The session outlives its connection: messages are numbered and acknowledged, and after an outage the client comes back
// by itself, resumes, and each side sends again what the other missed: nothing lost, doubled or out of order.
// Events of its own: "reconnecting" {attempt}, "resumed" {resumed}, "closed" {reason}. If the relay has forgotten the
// session, the client joins anew: a second "welcome" arrives, with another id.

const CONNECT_TIMEOUT = 10000;
const WINDOW = 1000; // messages kept for sending again
const ACK_EVERY = 16;
const ACK_DELAY = 250;
const UNNUMBERED = new Set(["join", "resume", "ack"]);
const FINAL_CLOSE = new Set([1000, 4003, 4004, 4009]);
const NEW_SESSION_CLOSE = new Set([4008, 4010]);

export class SignalingClient extends EventTarget {
  #url;
  #join;
  #socket = null;
  #session = null; // what resumes: {token}
  #sent = []; // [seq, frame] not acknowledged yet
  #seq = 0;
  #received = 0;
  #acked = 0;
  #ackTimer = null;
  #retryTimer = null;
  #attempt = 0;
  #closed = false;
  #welcomed = false;
  #lastError = null;
  #wake = null;

  constructor(url, { room, name, token = null, metadata = null }) {
    super();
    this.#url = url;
    this.#join = { type: "join", room, name, resumable: true };
    if (token) this.#join.token = token;
    if (metadata) this.#join.metadata = metadata;
    this.id = null;
    this.room = room;
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
      this.#wake = () => this.#hurry();
      addEventListener("online", this.#wake);
      this.#open();
    });
  }

  /** Sends a message; while the relay is away it is kept. Throws when the client is closed or too much is waiting. */
  send(message) {
    if (this.#closed) throw new Error("The signalling client is closed.");
    if (this.#sent.length >= WINDOW) {
      throw new Error(`The relay has been away too long: ${WINDOW} messages are waiting.`);
    }
    if (this.#session || !this.#welcomed) message = { ...message, seq: ++this.#seq };
    const frame = JSON.stringify(message);
    if (message.seq) this.#sent.push([message.seq, frame]);
    if (this.#ready()) this.#socket.send(frame);
  }

  /** Leaves the room for good. */
  close() {
    if (this.#closed) return;
    if (this.#ready()) this.send({ type: "leave" });
    this.#finish("left", 1000);
  }

  #ready() {
    return this.#welcomed && this.#socket?.readyState === WebSocket.OPEN && this.#socket.welcomed;
  }

  #open() {
    let socket;
    try {
      socket = new WebSocket(this.#url);
    } catch (error) {
      this.#finish(`${this.#url} is not an address of a relay: ${error.message}`);
      return;
    }
    this.#socket = socket;
    this.#lastError = null;
    const giveUp = setTimeout(() => socket.close(), CONNECT_TIMEOUT);
    socket.onopen = () => {
      const first = this.#session
        ? { type: "resume", session: this.#session.token, received: this.#received, token: this.#join.token }
        : this.#join;
      socket.send(JSON.stringify(first));
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      let message;
      try {
        message = JSON.parse(data);
      } catch {
        return;
      }
      if (message.type === "welcome") clearTimeout(giveUp);
      this.#take(message, socket);
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(giveUp);
      if (socket === this.#socket) this.#lost(code, reason);
    };
  }

  #take(message, socket) {
    if (message.type === "ack") {
      this.#forget(message.seq);
      return;
    }
    if (message.type === "error" && message.code === "resume-failed" && !socket.welcomed) {
      this.#startAnew();
      socket.send(JSON.stringify(this.#join));
      return;
    }
    if (message.seq) {
      if (message.seq <= this.#received) return; // sent again, although it had arrived
      if (message.seq !== this.#received + 1) {
        socket.close(4001, "a message is missing");
        return;
      }
      this.#received = message.seq;
      this.#acknowledge();
    }
    if (message.type === "welcome") this.#enter(message, socket);
    else if (message.type === "error") this.#lastError = message;
    if (message.type !== "welcome" || !message.resumed) this.#emit(message.type, message);
  }

  #enter(message, socket) {
    socket.welcomed = true;
    const again = this.#welcomed;
    this.#welcomed = true;
    this.#attempt = 0;
    this.id = message.id;
    this.#session = message.resume ?? (message.resumed ? this.#session : null);
    if (message.resumed) this.#forget(message.received ?? 0);
    for (const [, frame] of this.#sent) socket.send(frame);
    if (!this.#session) this.#sent = [];
    if (again) this.#emit("resumed", { resumed: Boolean(message.resumed) });
  }

  #startAnew() {
    // What was meant for the old session is void: the peers know us under another id from now on.
    this.#session = null;
    this.#sent = [];
    this.#seq = this.#received = this.#acked = 0;
  }

  #forget(seq) {
    while (this.#sent.length && this.#sent[0][0] <= seq) this.#sent.shift();
  }

  #acknowledge() {
    const now = () => {
      clearTimeout(this.#ackTimer);
      this.#ackTimer = null;
      if (!this.#ready() || this.#acked === this.#received) return;
      this.#acked = this.#received;
      this.#socket.send(JSON.stringify({ type: "ack", seq: this.#received }));
    };
    if (this.#received - this.#acked >= ACK_EVERY) now();
    else this.#ackTimer ??= setTimeout(now, ACK_DELAY);
  }

  #lost(code, reason) {
    this.#socket = null;
    if (this.#closed) return;
    const said = this.#lastError?.message || reason;
    if (!this.#welcomed) {
      this.#finish(said || `The relay at ${this.#url} cannot be reached. Check the address, and that the relay is running.`);
      return;
    }
    if (FINAL_CLOSE.has(code)) {
      this.#finish(said || "the relay closed the session");
      return;
    }
    if (NEW_SESSION_CLOSE.has(code) || !this.#session) this.#startAnew();
    this.#attempt += 1;
    this.#emit("reconnecting", { attempt: this.#attempt });
    // At once the first time (a relay that restarts, a short blip), then twice as long each time, with full jitter.
    const ceiling = this.#attempt === 1 ? 200 : Math.min(10000, 250 * 2 ** this.#attempt);
    this.#retryTimer = setTimeout(() => this.#open(), Math.random() * ceiling);
  }

  #hurry() {
    if (this.#closed || this.#socket) return;
    clearTimeout(this.#retryTimer);
    this.#open();
  }

  #finish(reason, code) {
    this.#closed = true;
    clearTimeout(this.#ackTimer);
    clearTimeout(this.#retryTimer);
    removeEventListener("online", this.#wake);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) code ? socket.close(code) : socket.close();
    this.#emit("closed", { reason });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
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
