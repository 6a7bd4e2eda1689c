// A call with everybody in a room: one RTCPeerConnection per remote peer.
//
// What goes over the wire, and who starts:
//  - The newcomer offers to everybody it finds in the room (`offer: "always"` offers to later ones too, "never" only answers).
//  - Perfect negotiation (W3C WebRTC 1.0, section 10.7); polite is the one who joined later.
//  - Chat is plain text on the data channel "chat": negotiated, id 100, so that neither side has to announce it.
//  - "liveness" (negotiated, id 101): whatever starts with "ping" is answered with "pong" and the rest.
//  - An offer says in `call` which call it belongs to, and a hang-up which one it ends: an offer that crosses a hang-up begins
//    nothing. Whoever offers first names the call.
//  - An offer whose SDP session id (`o=`) is not the one of the present connection starts a fresh connection; an answer
//    says in `of` which offer it answers (session id and version), so that a late one is never taken for another's.

const CHAT = { label: "chat", id: 100 };
const LIVENESS = { label: "liveness", id: 101 };
const GRACE = 500; // milliseconds "disconnected" may last (Chromium says so after 5 to 8 s of silence) before ICE is restarted
const COURTESY = 5000; // milliseconds more for the side that ICE calls controlled: the other restarts first, and one is enough
const GIVE_UP = 10000; // milliseconds without a path before a fresh connection is tried
const RETRY = 5000; // milliseconds after the first restart until the next; each time twice as long
const CONNECT = 30000; // milliseconds a fresh connection has to connect
const MAX_FRESH = 4; // fresh connections in a row without one that connected
const WHY_LEFT = {
  lost: "has gone without a word",
  "too-slow": "was too slow for the relay",
  "token-expired": "was let in for no longer",
  removed: "was removed from the room",
  "session-lost": "lost its session",
};

const REMEMBERED = 512; // calls and sessions that are over

export class Call extends EventTarget {
  #roster = new Map();
  #over = new Set(); // names of calls, and sessions of connections, that have ended

  /**
   * @param {import("./signaling.js").SignalingClient} signaling not yet connected
   * @param {{stream?: MediaStream | null, configuration?: RTCConfiguration, offer?: "newcomer"|"always"|"never"}} options
   */
  constructor(signaling, { stream = null, configuration = {}, offer = "newcomer" } = {}) {
    super();
    this.signaling = signaling;
    this.stream = stream;
    this.configuration = configuration;
    this.offer = offer;
    this.peers = new Map();
    this.left = false;

    const on = (type, listener) => signaling.addEventListener(type, (event) => listener(event.detail));
    on("welcome", (message) => this.#welcomed(message));
    on("peer-joined", (message) => this.#joined(message));
    on("peer-left", ({ id, reason }) => {
      this.#roster.delete(id);
      this.#gone(id, WHY_LEFT[reason] ?? "left the room");
    });
    on("hangup", ({ from, call }) => {
      // A hang-up of the call before this one says nothing of it.
      if (!call || !this.#over.has(`${from} ${call}`)) this.#gone(from, "hung up");
    });
    for (const type of ["offer", "answer", "ice-candidate", "end-of-candidates"]) {
      on(type, (message) => this.#from(message));
    }
  }

  get id() {
    return this.signaling.id;
  }

  async join() {
    await this.signaling.connect();
  }

  /** Sends a chat line to everyone whose channel is open; returns how many that was. */
  say(text) {
    let reached = 0;
    for (const peer of this.peers.values()) reached += peer.say(text) ? 1 : 0;
    return reached;
  }

  /** Hangs up with everyone and leaves the room. */
  leave() {
    if (this.left) return;
    this.left = true;
    for (const peer of [...this.peers.values()]) {
      this.signaling.send({ type: "hangup", to: peer.id, call: peer.callName });
      this.#gone(peer.id, "you hung up");
    }
    this.signaling.close();
  }

  report(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #welcomed({ peers = [] }) {
    // A second welcome means that the relay had lost our session: the others saw us leave and come back as a newcomer.
    for (const id of [...this.peers.keys()]) this.#gone(id, "is called again");
    this.#roster = new Map(peers.map(({ id, name }) => [id, { id, name, hereBeforeUs: true }]));
    for (const { id } of peers) this.#meet(id, this.offer !== "never");
  }

  #joined({ id, name }) {
    this.#roster.set(id, { id, name, hereBeforeUs: false });
    this.#meet(id, this.offer === "always");
  }

  #meet(id, offers) {
    const { name, hereBeforeUs } = this.#roster.get(id) ?? {};
    if (hereBeforeUs === undefined || this.left || this.peers.has(id)) return;
    const peer = new RemotePeer(this, { id, name: name || "someone", polite: hereBeforeUs, offers });
    this.peers.set(id, peer);
    this.report("peer", { peer });
    peer.open();
  }

  #gone(id, reason) {
    const peer = this.peers.get(id);
    if (!peer) return;
    this.peers.delete(id);
    for (const name of peer.namesOfCall()) this.#over.add(`${id} ${name}`);
    for (const oldest of this.#over) {
      if (this.#over.size <= REMEMBERED) break;
      this.#over.delete(oldest);
    }
    peer.close();
    this.report("peergone", { peer, reason });
  }

  #from(message) {
    let peer = this.peers.get(message.from);
    if (!peer && message.type === "offer") {
      const { from, call, sdp } = message;
      if (this.#over.has(`${from} ${call}`) || this.#over.has(`${from} ${sessionOf(sdp)}`)) return; // it crossed a hang-up
      // It hung up with us, stayed in the room and calls again.
      this.#meet(message.from, false);
      peer = this.peers.get(message.from);
    }
    peer?.receive(message);
  }
}

export class RemotePeer {
  #makingOffer = false;
  #ignoreOffer = false;
  #settingAnswer = false;
  #early = [];
  #inbox = Promise.resolve();
  #restartTimer = null;
  #deadline = null;
  #outage = null;
  #restarts = 0;
  #fresh = 0;
  #mayOffer;
  #controls = false; // ICE: whoever made the first offer of a connection does (RFC 8445, section 6.1.1)
  callName = crypto.getRandomValues(new Uint32Array(3)).join("-"); // what our offers say they belong to
  #calls = new Set([this.callName]);
  #retired = new Set(); // sessions of the remote whose connection we gave up

  constructor(call, { id, name, polite, offers }) {
    this.call = call;
    this.id = id;
    this.name = name;
    this.polite = polite;
    this.stream = new MediaStream();
    this.pc = null;
    this.started = performance.now();
    this.#mayOffer = offers;
  }

  open() {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", ...this.call.configuration });
    this.pc = pc;
    this.#makingOffer = this.#ignoreOffer = this.#settingAnswer = false;
    const mine = (listener) => (event) => {
      if (this.pc === pc) listener(event);
    };

    pc.onnegotiationneeded = mine(() => this.#mayOffer && this.#offer());
    pc.onicecandidate = mine(({ candidate }) => {
      if (!candidate) {
        this.#send({ type: "end-of-candidates" });
      } else {
        this.#send({ type: "ice-candidate", candidate: candidate.toJSON() });
        if (candidate.candidate) this.#report("candidate", { side: "local", candidate });
      }
    });
    pc.onicecandidateerror = mine(({ url, errorCode, errorText }) =>
      this.#report("candidateerror", { url, code: errorCode, text: errorText }),
    );
    pc.onconnectionstatechange = mine(() => {
      this.#report("state", { what: "connection", state: pc.connectionState });
      this.#recover(pc.connectionState);
    });
    pc.oniceconnectionstatechange = mine(() => this.#report("state", { what: "ice", state: pc.iceConnectionState }));
    pc.onicegatheringstatechange = mine(() => this.#report("state", { what: "gathering", state: pc.iceGatheringState }));
    pc.onsignalingstatechange = mine(() => this.#report("state", { what: "signaling", state: pc.signalingState }));
    pc.ontrack = mine(({ track }) => {
      for (const old of this.stream.getTracks()) if (old.kind === track.kind) this.stream.removeTrack(old);
      this.stream.addTrack(track);
      this.#report("track", { track });
    });
    pc.ondatachannel = mine(({ channel }) => {
      if (channel.label === CHAT.label) this.#listen(channel);
      else this.#report("datachannel", { channel });
    });

    this.chat = pc.createDataChannel(CHAT.label, { negotiated: true, id: CHAT.id });
    this.#listen(this.chat);
    const liveness = pc.createDataChannel(LIVENESS.label, {
      negotiated: true,
      id: LIVENESS.id,
      ordered: false,
      maxRetransmits: 0,
    });
    liveness.onmessage = ({ data }) => {
      if (typeof data === "string" && data.startsWith("ping")) liveness.send(`pong${data.slice(4)}`);
    };

    const tracks = this.call.stream?.getTracks() ?? [];
    for (const track of tracks) pc.addTrack(track, this.call.stream);
    if (this.#mayOffer) {
      for (const kind of ["audio", "video"]) {
        if (!tracks.some((track) => track.kind === kind)) pc.addTransceiver(kind, { direction: "recvonly" });
      }
    }
    this.#report("state", { what: "connection", state: pc.connectionState });
  }

  close() {
    this.#stopTimers();
    const pc = this.pc;
    this.pc = null;
    pc?.close();
  }

  say(text) {
    if (this.chat?.readyState !== "open") return false;
    this.chat.send(text);
    return true;
  }

  /** Takes a message of this peer; one at a time, in their order. */
  receive(message) {
    this.#inbox = this.#inbox.then(() => this.#take(message)).catch((error) => this.#report("problem", { error }));
  }

  async #take(message) {
    if (!this.pc) return;
    if (message.type === "offer" || message.type === "answer") await this.#describe(message);
    else await this.#candidate(message);
  }

  /** Names of this call, and of the connections it went over, as offers say them. */
  namesOfCall() {
    const present = this.pc?.remoteDescription;
    return [...this.#calls, ...this.#retired, ...(present ? [sessionOf(present.sdp)] : [])];
  }

  async #describe({ type, sdp, of, call }) {
    if (this.#retired.has(sessionOf(sdp))) return;
    const present = this.pc.remoteDescription;
    if (type === "offer" && present && sessionOf(present.sdp) !== sessionOf(sdp)) {
      this.#report("restarted", { by: "remote" });
      this.#replace();
    }
    const ready = !this.#makingOffer && (this.pc.signalingState === "stable" || this.#settingAnswer);
    const collision = type === "offer" && !ready;
    this.#ignoreOffer = !this.polite && collision;
    if (this.#ignoreOffer) return;
    // Chromium may gather nothing after the rollback of a first offer; a connection that has carried nothing yet is as
    // easily made anew.
    if (collision && !present) this.#replace();
    const pc = this.pc;
    if (type === "answer") {
      if (pc.signalingState !== "have-local-offer") return; // to an offer that was rolled back
      if (of && of !== originOf(pc.pendingLocalDescription.sdp)) return; // to an offer of a connection given up
    }

    this.#mayOffer = true; // who answers once may ask for more afterwards
    this.#settingAnswer = type === "answer";
    if (!pc.remoteDescription) this.#controls = type === "answer";
    try {
      await pc.setRemoteDescription({ type, sdp });
    } finally {
      this.#settingAnswer = false;
    }
    const early = this.#early.splice(0);
    for (const candidate of early) await pc.addIceCandidate(candidate).catch(() => {});
    if (type === "offer") {
      if (call) {
        this.callName = call;
        this.#calls.add(call);
      }
      if (this.#restartTimer !== null) {
        // The remote is at it already: ours would only collide with its restart.
        clearTimeout(this.#restartTimer);
        this.#restartTimer = setTimeout(() => this.#restart(), jittered(RETRY) + this.#courtesy());
      }
      await pc.setLocalDescription();
      this.#send({ type: "answer", sdp: pc.localDescription.sdp, of: originOf(sdp) });
    }
  }

  async #candidate({ type, candidate }) {
    const init = type === "end-of-candidates" ? undefined : candidate;
    if (init?.candidate) this.#report("candidate", { side: "remote", candidate: new RTCIceCandidate(init) });
    if (!this.pc.remoteDescription) {
      if (!this.#ignoreOffer) this.#early.push(init);
      return;
    }
    try {
      await this.pc.addIceCandidate(init);
    } catch (error) {
      if (!this.#ignoreOffer) throw error;
    }
  }

  async #offer() {
    const pc = this.pc;
    try {
      this.#makingOffer = true;
      await pc.setLocalDescription();
      if (pc === this.pc) this.#send({ type: pc.localDescription.type, sdp: pc.localDescription.sdp, call: this.callName });
    } catch (error) {
      if (pc === this.pc) this.#report("problem", { error });
    } finally {
      if (pc === this.pc) this.#makingOffer = false;
    }
  }

  // Most disconnects heal alone: wait, restart ICE, and only then start over with a fresh connection.
  #recover(state) {
    if (state === "connected") {
      this.#stopTimers();
      if (this.#outage !== null) this.#report("recovered", { after: performance.now() - this.#outage });
      this.#outage = null;
      this.#restarts = this.#fresh = 0;
    } else if (state === "disconnected") {
      this.#broken();
      this.#restartTimer ??= setTimeout(() => this.#restart(), GRACE + this.#courtesy());
    } else if (state === "failed") {
      this.#broken();
      if (this.#restarts === 0) this.#restart();
    }
  }

  #broken() {
    this.#outage ??= performance.now();
    this.#deadline ??= setTimeout(() => this.#startOver(), jittered(GIVE_UP));
  }

  #courtesy() {
    return this.#controls ? 0 : COURTESY;
  }

  #restart() {
    if (!this.pc) return;
    clearTimeout(this.#restartTimer);
    this.#restartTimer = setTimeout(() => this.#restart(), jittered(RETRY * 2 ** this.#restarts));
    this.#restarts += 1;
    this.#mayOffer = true;
    // An offer that is not answered yet is a restart under way.
    if (this.pc.signalingState === "stable") {
      this.#report("restarting", { how: "ice" });
      this.pc.restartIce();
    }
  }

  #startOver() {
    if (!this.pc) return;
    this.#stopTimers();
    if (++this.#fresh > MAX_FRESH) {
      this.#report("lost", {});
      return;
    }
    this.#mayOffer = true;
    this.#report("restarting", { how: "fresh" });
    this.#replace();
    this.#deadline = setTimeout(() => this.#startOver(), jittered(CONNECT));
  }

  #replace() {
    const present = this.pc?.remoteDescription;
    if (present) this.#retired.add(sessionOf(present.sdp));
    this.close();
    this.#early = [];
    this.open();
  }

  #stopTimers() {
    clearTimeout(this.#restartTimer);
    clearTimeout(this.#deadline);
    this.#restartTimer = this.#deadline = null;
    this.#restarts = 0;
  }

  #listen(channel) {
    channel.onopen = () => {
      this.chat = channel;
      this.#report("chatopen", {});
    };
    channel.onmessage = ({ data }) => this.#report("message", { text: String(data) });
  }

  #send(message) {
    this.call.signaling.send({ ...message, to: this.id });
  }

  #report(type, detail) {
    this.call.report(type, { peer: this, at: performance.now() - this.started, ...detail });
  }
}

/** Session id and version of a description's `o=` line: they name one description of one connection (RFC 8866, section 5.2). */
function originOf(sdp) {
  return /^o=\S+ (\S+ \S+)/m.exec(sdp)?.[1];
}

/** The same for the life of an RTCPeerConnection (RFC 9429, section 5.2.1). */
function sessionOf(sdp) {
  return originOf(sdp)?.split(" ")[0];
}

/** A quarter more or less, so that both sides do not do the same at the same moment. */
function jittered(milliseconds) {
  return milliseconds * (0.75 + 0.5 * Math.random());
}
