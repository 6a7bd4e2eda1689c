// One end of an audio call in a browser: plays samples over and over, and records what it hears.
"use strict";

const WORKLETS = `
class Play extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.samples = processorOptions.samples;
    this.frame = 0;
    this.began = Infinity;
  }
  process(inputs, outputs) {
    const out = outputs[0][0];
    for (let i = 0; i < out.length; i++) out[i] = this.samples[this.frame++ % this.samples.length];
    // Blocks are rendered in bursts: the last of a burst is as old as the clock says.
    const began = Date.now() / 1000 - this.frame / sampleRate;
    if (began < this.began) this.port.postMessage((this.began = began));
    return true;
  }
}
class Record extends AudioWorkletProcessor {
  process(inputs) {
    const samples = inputs[0][0];
    if (samples) this.port.postMessage({ at: Date.now() / 1000, samples: samples.slice() });
    return true;
  }
}
registerProcessor("play", Play);
registerProcessor("record", Record);
`;

window.audio = (() => {
  const state = { began: null, heard: [], receiver: null };
  let pc, context;

  const prepare = async ({ samples, rate }) => {
    context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([WORKLETS], { type: "text/javascript" })));
    await context.resume();
    const bytes = Uint8Array.from(atob(samples), (letter) => letter.charCodeAt(0));
    const floats = Float32Array.from(new Int16Array(bytes.buffer), (value) => value / 32768);
    const player = new AudioWorkletNode(context, "play", {
      numberOfInputs: 0, outputChannelCount: [1], processorOptions: { samples: floats },
    });
    player.port.onmessage = ({ data }) => { state.began = data; };
    const microphone = context.createMediaStreamDestination();
    microphone.channelCount = 1;
    player.connect(microphone);
    pc = new RTCPeerConnection();
    pc.addTrack(microphone.stream.getAudioTracks()[0], microphone.stream);
    pc.ontrack = ({ track, receiver }) => {
      state.receiver = receiver;
      const stream = new MediaStream([track]);
      // Without an element to play it, Chromium decodes nothing.
      state.sound = new Audio();
      state.sound.srcObject = stream;
      state.sound.play();
      const recorder = new AudioWorkletNode(context, "record", { channelCount: 1, channelCountMode: "explicit" });
      recorder.port.onmessage = ({ data }) => state.heard.push(data);
      context.createMediaStreamSource(stream).connect(recorder);
      recorder.connect(context.destination);
    };
  };
  const gathered = async () => {
    while (pc.iceGatheringState !== "complete") await new Promise((done) => setTimeout(done, 20));
    return pc.localDescription.sdp;
  };
  const offer = async () => {
    await pc.setLocalDescription();
    return gathered();
  };
  const answer = async ({ sdp }) => {
    await pc.setRemoteDescription({ type: "offer", sdp });
    await pc.setLocalDescription();
    return gathered();
  };
  const accept = ({ sdp }) => pc.setRemoteDescription({ type: "answer", sdp });
  const concealed = async () => {
    for (const stats of (await state.receiver.getStats()).values())
      if (stats.type === "inbound-rtp") return [stats.concealedSamples, stats.totalSamplesReceived];
    return [0, 0];
  };
  const listen = async ({ seconds }) => {
    const before = await concealed();
    state.heard.length = 0;
    await new Promise((done) => setTimeout(done, seconds * 1000));
    const after = await concealed();
    const heard = state.heard.splice(0);
    const bytes = new Uint8Array(Int16Array.from(heard.flatMap(({ samples }) => Array.from(samples)),
      (value) => Math.max(-32768, Math.min(32767, Math.round(value * 32768)))).buffer);
    let samples = "";
    for (let i = 0; i < bytes.length; i += 8192) samples += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return {
      samples: btoa(samples),
      ends: heard.map(({ at }) => at),
      block: heard.length ? heard[0].samples.length : 0,
      concealed: (after[0] - before[0]) / Math.max(after[1] - before[1], 1),
    };
  };
  const started = () => state.began;
  const close = () => { pc.close(); return context.close(); };
  return { prepare, offer, answer, accept, listen, started, close };
})();
