// One end of a call inside the lab, in a browser: the same commands as tests/netlab/node.py.
"use strict";

const lab = (() => {
  const state = { configuration: {}, media: [], socket: null, unsent: [], links: new Map(), others: [] };
  const now = () => performance.now() / 1000;
  const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const until = async (condition, timeout) => {
    const deadline = now() + timeout;
    while (!condition()) {
      if (now() > deadline) return false;
      await pause(0.002);
    }
    return true;
  };

  class Link {
    constructor(remote, polite) {
      Object.assign(this, { remote, polite, log: [], channel: null, numbers: [], packets: [] });
      Object.assign(this, { makingOffer: false, negotiated: false, ignoring: false, opened: null });
      this.pc = new RTCPeerConnection(state.configuration);
      for (const name of ["connectionState", "iceConnectionState", "iceGatheringState", "signalingState"])
        this.pc.addEventListener(name.toLowerCase() + "change", () => this.note(name, this.pc[name]));
      if (state.recovery)
        // As early as an application can know.
        this.pc.addEventListener("iceconnectionstatechange", () => {
          if (this.pc.iceConnectionState === "disconnected") this.pc.restartIce();
        });
      this.pc.onicecandidate = ({ candidate }) => {
        this.note("candidate", candidate && candidate.candidate);
        if (candidate === null) this.send({ type: "end-of-candidates" });
        else if (candidate.candidate) this.send({ type: "ice-candidate", candidate: candidate.toJSON() });
      };
      this.pc.onicecandidateerror = ({ url, errorCode, errorText }) =>
        this.note("candidate error", `${url}: ${errorCode} ${errorText}`);
      this.pc.ondatachannel = ({ channel }) => this.useChannel(channel);
      this.pc.ontrack = ({ track, receiver, streams }) => {
        this.note("track", track.kind);
        const sound = new Audio();
        sound.srcObject = streams[0] || new MediaStream([track]);
        sound.play().catch(() => {});
        this.sound = sound;
        this.countPackets(receiver);
      };
      this.pc.onnegotiationneeded = async () => {
        if (!this.negotiated) return;
        this.makingOffer = true;
        try {
          await this.pc.setLocalDescription();
          this.sendDescription();
        } finally {
          this.makingOffer = false;
        }
      };
    }

    note(what, value) { this.log.push([now(), what, value]); }
    send(message) {
      const text = JSON.stringify({ to: this.remote, ...message });
      if (state.socket === null) state.unsent.push(text);
      else state.socket.send(text);
    }
    sendDescription() {
      const { type, sdp } = this.pc.localDescription;
      this.send({ type, sdp });
      this.note("sent", type);
    }

    useChannel(channel) {
      this.channel = channel;
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => {
        const view = new DataView(data);
        this.numbers.push([view.getUint32(0), view.getFloat64(4), now()]);
      };
      const open = () => {
        if (this.opened === null) {
          this.opened = now();
          this.note("open", true);
        }
      };
      channel.onopen = open;
      if (channel.readyState === "open") open();
    }

    countPackets(receiver) {
      if (receiver.createEncodedStreams === undefined || !state.configuration.encodedInsertableStreams) return;
      const { readable, writable } = receiver.createEncodedStreams();
      const packets = this.packets;
      readable.pipeThrough(new TransformStream({
        transform(frame, controller) {
          const { synchronizationSource, sequenceNumber } = frame.getMetadata();
          packets.push([synchronizationSource, sequenceNumber, now()]);
          controller.enqueue(frame);
        },
      })).pipeTo(writable);
    }

    async addMedia() {
      if (!state.media.includes("audio")) return;
      state.stream ??= await navigator.mediaDevices.getUserMedia({ audio: true });
      for (const track of state.stream.getTracks()) {
        const sender = this.pc.addTrack(track, state.stream);
        if (state.configuration.encodedInsertableStreams) {
          const { readable, writable } = sender.createEncodedStreams();
          readable.pipeTo(writable);
        }
      }
    }

    async offer() {
      this.makingOffer = true;
      try {
        const offer = await this.pc.createOffer();
        this.note("offer", "created");
        await this.pc.setLocalDescription(offer);
        this.note("offer", "applied");
        this.sendDescription();
      } finally {
        this.makingOffer = false;
      }
    }

    async receive(message) {
      const { type } = message;
      this.note("received", type);
      if (type === "offer" || type === "answer") {
        const collision = type === "offer" && (this.makingOffer || this.pc.signalingState !== "stable");
        this.ignoring = collision && !this.polite;
        if (this.ignoring) return;
        await this.pc.setRemoteDescription({ type, sdp: message.sdp });
        this.note("applied", type);
        if (type === "offer") {
          if (!this.negotiated) await this.addMedia();
          await this.pc.setLocalDescription();
          this.sendDescription();
        }
        this.negotiated = true;
      } else if (type === "ice-candidate" || type === "end-of-candidates") {
        try {
          await this.pc.addIceCandidate(message.candidate);
        } catch (error) {
          if (!this.ignoring) throw error;
        }
      }
    }
  }

  const only = () => {
    if (state.links.size !== 1) throw new Error(`there are ${state.links.size} calls, not one`);
    return [...state.links.values()][0];
  };

  const receive = async (message) => {
    const remote = message.from;
    if (message.type === "peer-joined") state.others.push(message.id);
    else if (message.type === "peer-left") state.others = state.others.filter((id) => id !== message.id);
    else if (message.type === "hangup") {
      state.links.get(remote)?.pc.close();
      state.links.delete(remote);
    } else if (remote !== undefined) {
      if (!state.links.has(remote)) {
        if (message.type !== "offer") return;
        state.links.set(remote, new Link(remote, true));
      }
      const link = state.links.get(remote);
      await link.receive(message).catch((error) => link.note("error", `${message.type}: ${error}`));
    }
  };

  const connect = async (more) => {
    const { url, join } = state.joining;
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error(`cannot connect to ${url}`));
    });
    let last = Promise.resolve();
    const welcome = await new Promise((resolve) => {
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "welcome") resolve(message);
        else last = last.then(() => receive(message));
      };
      socket.send(JSON.stringify({ ...join, ...more }));
      state.socket = socket;
      for (const text of state.unsent.splice(0)) socket.send(text);
    });
    state.id = welcome.id;
    return welcome;
  };

  const commands = {
    async configure({ configuration, media, recovery }) {
      Object.assign(state, { configuration, media, recovery });
    },

    async join({ url, room, name }) {
      await commands.leave();
      state.joining = { url, join: { type: "join", room, name } };
      const welcome = await connect({});
      state.others.unshift(...welcome.peers.map(({ id }) => id));
      return welcome.id;
    },

    async part() {
      state.socket.onmessage = null;
      state.socket = null;
    },

    async rejoin() {
      await connect({ resume: state.id });
    },

    async call({ patience }) {
      await until(() => state.others.length > 0, patience);
      const link = new Link(state.others[0], false);
      state.links.set(state.others[0], link);
      await link.addMedia();
      link.useChannel(link.pc.createDataChannel("numbers", { ordered: false, maxRetransmits: 0 }));
      const started = now();
      await link.offer();
      await until(() => link.opened !== null || link.pc.connectionState === "failed", patience);
      const ms = link.opened === null ? null : (link.opened - started) * 1000;
      return { ms, started, log: link.log };
    },

    async log() { return only().log; },

    async wait({ what, value, patience, since = 0 }) {
      let found;
      await until(() => {
        if (state.links.size !== 1) return false;
        found = only().log.find(([when, name, seen]) => when >= since && name === what && seen === value);
        return found !== undefined;
      }, patience);
      return found === undefined ? null : found[0];
    },

    async pair() {
      const stats = await only().pc.getStats();
      for (const transport of stats.values()) {
        if (transport.type !== "transport" || !transport.selectedCandidatePairId) continue;
        const pair = stats.get(transport.selectedCandidatePairId);
        const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
        return {
          local: local.candidateType, remote: remote.candidateType, protocol: local.protocol,
          relay: local.relayProtocol ?? null, localAddress: local.address, remoteAddress: remote.address,
          ports: [local.port, remote.port],
        };
      }
      return null;
    },

    async reconfigure({ configuration }) {
      only().pc.setConfiguration({ ...only().pc.getConfiguration(), ...configuration });
    },

    async restart() {
      only().note("restart", "asked");
      only().pc.restartIce();
    },

    async numbers_start({ interval }) {
      const link = only();
      await until(() => link.opened !== null, 10);
      let number = 0, due = now();
      const tick = () => {
        if (link.channel.readyState !== "open") return;
        const view = new DataView(new ArrayBuffer(12));
        view.setUint32(0, number++);
        view.setFloat64(4, now());
        link.channel.send(view.buffer);
        due += interval;
        setTimeout(tick, Math.max(0, due - now()) * 1000);
      };
      tick();
    },

    async numbers() { return only().numbers; },
    async packets() { return only().packets; },

    async hangup() {
      for (const { pc } of state.links.values()) pc.close();
      state.links.clear();
    },

    async leave() {
      await commands.hangup();
      state.socket?.close();
      state.others = [];
    },

    async clock() { return now(); },
  };
  return commands;
})();
