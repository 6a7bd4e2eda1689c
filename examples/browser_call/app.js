// The page: wires the DOM to a Call and shows what happens.

import { Call } from "./call.js";
import { SignalingClient, fetchIceServers } from "./signaling.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const token = takeToken();
const timeline = new Timeline({ log: $("log"), lanes: $("lanes"), end: $("scale-end") });
const entry = $("entry");
const tiles = new Map();
const emptyTile = document.querySelector("#remotes .tile");

let call = null;
let stream = null;
let shown = null; // the peer whose connection the side panel describes
let statsTimer = null;

$("room").value = parameters.get("room") ?? "demo";
$("name").value = parameters.get("name") || remembered() || "Guest";

entry.addEventListener("submit", (event) => {
  event.preventDefault();
  join().catch((error) => failed(error));
});
$("hangup").addEventListener("click", () => hangUp("You hung up."));
$("microphone").addEventListener("click", () => toggle("audio", $("microphone")));
$("camera").addEventListener("click", () => toggle("video", $("camera")));
$("unmute").addEventListener("click", () => {
  for (const video of document.querySelectorAll("#remotes video")) {
    video.muted = false;
    video.play().catch(() => {});
  }
  $("unmute").hidden = true;
});
$("chat").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("message").value.trim();
  if (!text || !call) return;
  if (call.say(text) > 0) {
    line("You", text, true);
    $("message").value = "";
  } else {
    status("Nobody can read that yet: the chat opens when a peer is connected.", "error");
  }
});
$("who").addEventListener("change", () => {
  show(call?.peers.get($("who").value) ?? null);
});
addEventListener("pagehide", () => call?.leave());

// A link must not be enough to turn somebody's camera on: elsewhere than on one's own machine, a press of Join is.
if (parameters.get("autojoin") === "1" && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(location.hostname)) {
  entry.requestSubmit();
}

async function join() {
  if (call) return;
  const url = signalingUrl();
  $("join").disabled = true;
  const room = $("room").value.trim();
  const name = $("name").value.trim();
  remember(name);

  status("Asking for camera and microphone…");
  const media = await openMedia();
  stream = media.stream;
  if (stream) {
    $("local").srcObject = stream;
    $("local").closest("figure").hidden = stream.getVideoTracks().length === 0;
  }

  status("Reaching the room…");
  timeline.start();
  const signaling = new SignalingClient(url, { room, name, token });
  const configuration = { iceServers: await iceServers() };
  if (parameters.get("policy")) configuration.iceTransportPolicy = parameters.get("policy");
  call = new Call(signaling, { stream, configuration, offer: parameters.get("offer") ?? "newcomer" });
  globalThis.browserCall = call; // for the console and for tests
  follow(call, signaling);
  await call.join();

  entry.hidden = true;
  $("where").textContent = `${room}, as ${name}`;
  $("hangup").disabled = false;
  for (const [kind, id] of [["audio", "microphone"], ["video", "camera"]]) {
    $(id).disabled = !stream?.getTracks().some((track) => track.kind === kind);
  }
  $("hangup").focus({ preventScroll: true });
  describeRoom(media.trouble);
  statsTimer = setInterval(showStats, 1000);
}

function follow(current, signaling) {
  const on = (type, listener) =>
    current.addEventListener(type, (event) => {
      if (current === call) listener(event.detail);
    });

  on("peer", ({ peer }) => {
    addTile(peer);
    timeline.add({ lane: "state", at: timeline.now(), kind: "room", text: `${peer.name} is in the room` });
    offerChoice();
    show(peer);
  });
  on("peergone", ({ peer, reason }) => {
    removeTile(peer);
    timeline.add({ lane: "state", at: timeline.now(), kind: "room", text: `${peer.name} ${reason}` });
    offerChoice();
    if (shown === peer) {
      const [next] = current.peers.values();
      if (next) show(next);
      else showState("closed");
    }
    if (!current.left) {
      const others = current.peers.size;
      status(`${peer.name} ${reason}. ${others ? "" : "Waiting for someone to join."}`.trim());
    }
    offerChat();
  });
  on("track", ({ peer }) => picture(peer));
  on("candidate", ({ side, candidate }) => timeline.candidate(side, candidate));
  on("candidateerror", ({ url, code, text }) =>
    timeline.add({
      lane: "local",
      at: timeline.now(),
      kind: "error",
      text: `${url || "a server"} gave no candidate (${code}${text ? `: ${text}` : ""})`,
    }),
  );
  on("state", ({ peer, what, state }) => {
    timeline.add({ lane: "state", at: timeline.now(), kind: state, text: `${peer.name}: ${what} ${state}` });
    if (peer === shown) show(peer);
    if (what !== "connection" || !current.peers.has(peer.id)) return;
    if (state === "connected") status(`Connected to ${peer.name}.`, "good");
    if (state === "disconnected") status(`The connection to ${peer.name} is interrupted. Waiting for it to come back…`);
    if (state === "failed") status(`The connection to ${peer.name} broke. Looking for another path…`);
  });
  on("restarting", ({ peer, how }) =>
    timeline.add({
      lane: "state",
      at: timeline.now(),
      kind: "restart",
      text: `${peer.name}: ${how === "ice" ? "ICE restart" : "fresh connection"}`,
    }),
  );
  on("recovered", ({ peer, after }) => status(`Connected to ${peer.name} again after ${(after / 1000).toFixed(1)} s.`, "good"));
  on("lost", ({ peer }) =>
    status(`No path to ${peer.name} could be found. Check the network, then hang up and join again.`, "error"),
  );
  on("chatopen", () => offerChat());
  on("message", ({ peer, text }) => line(peer.name, text, false));
  on("problem", ({ peer, error }) => {
    timeline.add({ lane: "state", at: timeline.now(), kind: "error", text: `${peer.name}: ${error.message}` });
    console.warn(error);
  });

  signaling.addEventListener("reconnecting", () => {
    if (current === call) status("The relay cannot be reached; trying again. Calls that are up go on.", "error");
  });
  signaling.addEventListener("resumed", () => {
    if (current === call) describeRoom();
  });
  signaling.addEventListener("error", ({ detail }) => {
    if (current === call) status(`The relay says: ${detail.message}`, "error");
  });
  signaling.addEventListener("closed", ({ detail }) => {
    if (current === call && !current.left) hangUp(`The relay ended the session: ${detail.reason}`, "error");
  });
}

function hangUp(text, tone) {
  const ended = call;
  ended?.leave();
  call = null;
  clearInterval(statsTimer);
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  $("local").srcObject = null;
  $("local").closest("figure").hidden = true;
  for (const peer of [...tiles.keys()]) removeTile(peer);
  shown = null;
  offerChoice();
  offerChat();
  showState("closed");
  entry.hidden = false;
  $("join").disabled = false;
  $("hangup").disabled = true;
  $("where").textContent = "";
  for (const id of ["microphone", "camera"]) {
    $(id).disabled = true;
    $(id).setAttribute("aria-pressed", "false");
  }
  $("unmute").hidden = true;
  status(text, tone);
  $("join").focus({ preventScroll: true });
}

function failed(error) {
  console.warn(error);
  hangUp(error.message, "error");
}

async function openMedia() {
  if (!navigator.mediaDevices?.getUserMedia) {
    return { stream: null, trouble: "This address is not secure, so the browser gives no camera or microphone (use https or localhost). You can watch, listen and chat." };
  }
  let trouble = null;
  for (const wanted of [{ audio: true, video: { width: { ideal: 640 }, height: { ideal: 480 } } }, { audio: true }, { video: true }]) {
    try {
      return { stream: await navigator.mediaDevices.getUserMedia(wanted), trouble };
    } catch (error) {
      trouble = MEDIA_TROUBLE[error.name] ?? `Camera and microphone cannot be used (${error.message}).`;
      if (error.name === "NotAllowedError" || error.name === "SecurityError") break;
    }
  }
  return { stream: null, trouble: `${trouble} You can watch, listen and chat.` };
}

const MEDIA_TROUBLE = {
  NotAllowedError: "Camera and microphone were not allowed; change that in the browser's address bar.",
  SecurityError: "Camera and microphone were not allowed on this page.",
  NotFoundError: "A camera or microphone is missing.",
  NotReadableError: "Another program is using the camera or microphone.",
};

async function iceServers() {
  const given = parameters.get("ice");
  if (given) {
    try {
      const parsed = JSON.parse(given);
      return Array.isArray(parsed) ? parsed : (parsed.iceServers ?? [parsed]);
    } catch {
      throw new Error("The address has an ?ice= that is not JSON; it should be a list like [{\"urls\": \"stun:host:3478\"}].");
    }
  }
  return fetchIceServers(new URL("/api/turn-credentials", location.href), token);
}

// The relay is that of the page's own origin, by whatever path: where a call goes is not up to a link.
function signalingUrl() {
  const url = new URL(parameters.get("signaling") ?? "/ws", location.href.replace(/^http/, "ws"));
  if (url.host !== location.host) throw new Error(`The address names a relay at ${url.host}; this page uses its own only.`);
  return url.href;
}

// A token stands behind the #, which no server and no other page is told, and leaves the address at once.
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) history.replaceState(null, "", location.pathname + location.search);
  return given;
}

function describeRoom(trouble = null) {
  if (trouble) status(trouble, "error");
  else if (!call.peers.size) status("You are in the room. Waiting for someone to join.");
  else if (![...call.peers.values()].some((peer) => peer.pc?.connectionState === "connected")) status("Connecting…");
}

function addTile(peer) {
  const tile = tiles.size === 0 ? emptyTile : emptyTile.cloneNode(true);
  tile.className = "tile blind";
  if (tile !== emptyTile) {
    tile.querySelector("video").removeAttribute("id");
    $("remotes").append(tile);
  }
  tiles.set(peer, tile);
  dress(peer, tile);
}

function dress(peer, tile) {
  const video = tile.querySelector("video");
  video.setAttribute("aria-label", `Picture of ${peer.name}`);
  if (video.srcObject !== peer.stream) video.srcObject = peer.stream;
  tile.querySelector("figcaption").textContent = peer.name;
  tile.querySelector(".placeholder").textContent = [...peer.name][0]?.toUpperCase() ?? "?";
  tile.classList.toggle("blind", peer.stream.getVideoTracks().length === 0);
  countTiles();
}

function picture(peer) {
  const tile = tiles.get(peer);
  if (!tile) return;
  dress(peer, tile);
  const video = tile.querySelector("video");
  video.play().catch((error) => {
    if (error.name !== "NotAllowedError") return;
    video.muted = true;
    video.play().catch(() => {});
    $("unmute").hidden = false;
  });
}

function removeTile(peer) {
  const tile = tiles.get(peer);
  if (!tile) return;
  tiles.delete(peer);
  if (tile !== emptyTile) {
    tile.remove();
  } else if (tiles.size) {
    // The first picture keeps its id: the oldest of the others moves into it.
    const [next, nextTile] = tiles.entries().next().value;
    nextTile.remove();
    tiles.set(next, emptyTile);
    picture(next);
  } else {
    emptyTile.className = "tile empty";
    emptyTile.querySelector("video").srcObject = null;
    emptyTile.querySelector("figcaption").textContent = "";
  }
  countTiles();
}

function countTiles() {
  document.querySelector(".pictures").dataset.count = tiles.size;
}

function offerChoice() {
  const select = $("who");
  const peers = [...(call?.peers.values() ?? [])];
  select.replaceChildren(...peers.map((peer) => new Option(peer.name, peer.id, false, peer === shown)));
  select.hidden = document.querySelector("label.who").hidden = peers.length < 2;
}

function offerChat() {
  const open = [...(call?.peers.values() ?? [])].some((peer) => peer.chat?.readyState === "open");
  $("message").disabled = $("send").disabled = !open;
  $("message").placeholder = open ? "Write a message" : call ? "Opens with the connection" : "Join to chat";
}

function line(who, text, mine) {
  const item = document.createElement("li");
  item.className = mine ? "mine" : "";
  const name = document.createElement("b");
  name.textContent = who;
  item.append(name, text);
  $("messages").append(item);
  while ($("messages").childElementCount > 500) $("messages").firstElementChild.remove();
  $("messages").scrollTop = $("messages").scrollHeight;
}

function show(peer) {
  shown = peer;
  if (!peer?.pc) return;
  $("who").value = peer.id;
  showState(peer.pc.connectionState);
  $("fact-ice").textContent = peer.pc.iceConnectionState;
  $("fact-gathering").textContent = peer.pc.iceGatheringState;
  $("fact-signaling").textContent = peer.pc.signalingState;
}

function showState(state) {
  $("state").textContent = state;
  $("state").parentElement.dataset.state = state;
  $("fact-connection").textContent = state;
  if (state !== "closed") return;
  for (const id of ["ice", "signaling"]) $(`fact-${id}`).textContent = state;
  for (const id of ["gathering", "path", "rtt", "rate"]) $(`fact-${id}`).textContent = "–";
}

let before = null;
async function showStats() {
  const peer = shown;
  if (!peer?.pc) return;
  const report = await peer.pc.getStats();
  if (peer !== shown || !peer.pc) return;
  let pair = null;
  let received = 0;
  let sent = 0;
  for (const entry of report.values()) {
    if (entry.type !== "transport") continue;
    pair = report.get(entry.selectedCandidatePairId) ?? pair;
    received += entry.bytesReceived ?? 0;
    sent += entry.bytesSent ?? 0;
  }
  const now = performance.now();
  if (pair) {
    const local = report.get(pair.localCandidateId);
    const remote = report.get(pair.remoteCandidateId);
    $("fact-path").textContent = `${kindOf(local)} ↔ ${kindOf(remote)}, ${local?.relayProtocol ?? local?.protocol ?? "?"}`;
    $("fact-rtt").textContent =
      pair.currentRoundTripTime === undefined ? "–" : `${Math.round(pair.currentRoundTripTime * 1000)} ms`;
  }
  if (before?.peer === peer && received >= before.received) {
    const seconds = (now - before.now) / 1000;
    $("fact-rate").textContent = `${rate(received - before.received, seconds)} / ${rate(sent - before.sent, seconds)} kbit/s`;
  }
  before = { peer, received, sent, now };
}

function kindOf(candidate) {
  return candidate?.candidateType ?? "?";
}

function rate(bytes, seconds) {
  return Math.round((bytes * 8) / 1000 / seconds);
}

function toggle(kind, button) {
  const off = button.getAttribute("aria-pressed") !== "true";
  for (const track of stream?.getTracks() ?? []) if (track.kind === kind) track.enabled = !off;
  button.setAttribute("aria-pressed", String(off));
}

function status(text, tone = "") {
  $("status").textContent = text;
  $("status").dataset.tone = tone;
}

function remember(name) {
  try {
    localStorage.setItem("name", name);
  } catch {
    // Storage may be switched off; the name is then asked again next time.
  }
}

function remembered() {
  try {
    return localStorage.getItem("name");
  } catch {
    return null;
  }
}
