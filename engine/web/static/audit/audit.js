// Reads the published log (C2SP tlog-tiles), shard by shard, and verifies it here: RFC 6962 hashes and Ed25519 by
// WebCrypto. Entries are numbered through all shards; each shard is a tree of its own.

const WIDTH = 256; // entries, or hashes, of a full tile
const MOST_TILES = 400; // of entries that are loaded, the latest ones
const MOST_ROWS = 1000; // that are shown
const STATES = ["consent.grant", "consent.refuse", "consent.withdraw", "consent.expire", "subject.erase"];
const COLOURS = ["#2563eb", "#9ca3af", "#d97706", "#7c3aed", "#b3261e"];
const KEYS = ["key.add", "key.retire", "policy.change", "config.change", "log.begin", "log.freeze"];
const WORDS = {
  "consent.grant": "consent given", "consent.refuse": "consent refused", "consent.withdraw": "consent withdrawn",
  "consent.expire": "consent ran out", "subject.erase": "a reader erased", "deletion.answer": "deletion request answered", "key.add": "key in use",
  "key.retire": "key retired", "policy.change": "policy changed", "config.change": "settings changed",
  "dp.release": "noisy counts released", "decision.batch": "consented use", "sealed": "sealed",
  "log.begin": "shard begun", "log.freeze": "shard ended",
};

const $ = (id) => document.getElementById(id);
const log = { shards: [] };

// --- bytes ---

const from64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const to64 = (bytes) => btoa(String.fromCharCode(...bytes));
const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const equal = (a, b) => a.length === b.length && a.every((byte, n) => byte === b[n]);
const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));

function join(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}

// --- the published files ---

async function load(path) {
  const headers = log.key ? { Authorization: `Bearer ${log.key}` } : {};
  const answer = await fetch(path, { headers, credentials: "omit" });
  if (!answer.ok) throw Object.assign(new Error(`${path}: ${answer.status} ${answer.statusText}`), { status: answer.status });
  return new Uint8Array(await answer.arrayBuffer());
}

function tilePath(shard, level, number) {
  const groups = [];
  for (let n = number; groups.length === 0 || n > 0; n = Math.floor(n / 1000)) groups.unshift(String(n % 1000).padStart(3, "0"));
  const spelled = groups.map((group, n) => (n < groups.length - 1 ? `x${group}` : group)).join("/");
  const scale = level === "entries" ? 0 : level;
  const width = Math.floor(shard.size / WIDTH ** scale) - number * WIDTH;
  return `${shard.prefix}/tile/${level}/${spelled}${width < WIDTH ? `.p/${width}` : ""}`;
}

function tile(shard, level, number) {
  const path = tilePath(shard, level, number);
  if (!shard.tiles.has(path)) shard.tiles.set(path, load(path));
  return shard.tiles.get(path);
}

function readNote(bytes) {
  const note = new TextDecoder().decode(bytes);
  const end = note.indexOf("\n\n") + 1;
  const [origin, size, root] = note.slice(0, end).split("\n");
  const signatures = note.slice(end + 1).split("\n").filter((line) => line.startsWith("— ")).map((line) => {
    const [name, signature] = line.slice(2).split(" ");
    return { name, signature: from64(signature) };
  });
  return { note, text: note.slice(0, end), origin, size: Number(size), root: from64(root), signatures };
}

async function entriesOf(shard, number) {
  const bytes = await tile(shard, "entries", number);
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const length = (bytes[at] << 8) | bytes[at + 1];
    found.push(bytes.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return found;
}

const leafAt = async (shard, index) => (await entriesOf(shard, Math.floor(index / WIDTH)))[index % WIDTH];
const shardOf = (seq) => log.shards.findLast((shard) => shard.first <= seq);
const yearIn = (origin) => { // of a shard of this log; "" for the first
  const rest = origin.slice(log.name.length);
  return origin.startsWith(log.name) && /^(\/[0-9]{4})?$/.test(rest) ? rest : null;
};

// Each shard that is over names the next one in its last entry.
async function readShards() {
  log.shards = [];
  for (let prefix = "/log", first = 0; prefix;) {
    let bytes;
    try {
      bytes = await load(`${prefix}/checkpoint`);
    } catch (error) {
      if (log.shards.length && error.status === 404) break; // it begins within the hour
      throw error;
    }
    const note = readNote(bytes);
    log.name ??= note.origin;
    const shard = { prefix, first, note, size: note.size, tiles: new Map() };
    log.shards.push(shard);
    first += shard.size;
    const last = shard.size ? entry(await leafAt(shard, shard.size - 1)) : {};
    const year = last.type === "log.freeze" ? yearIn(String(last.data?.next)) : null;
    prefix = year && `/log${year}` > prefix ? `/log${year}` : null;
  }
  log.newest = log.shards.at(-1);
  log.size = log.newest.first + log.newest.size;
}

function entry(leaf, seq) {
  try {
    const read = JSON.parse(new TextDecoder().decode(leaf));
    if (Number.isSafeInteger(read.t) && typeof read.type === "string") return read;
  } catch { /* told below */ }
  return { v: 0, seq, type: "unreadable", t: 0 };
}

// --- RFC 6962 ---

const leafHash = (leaf) => sha256(Uint8Array.of(0), leaf);
const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);
const below = (size) => 2 ** Math.floor(Math.log2(size - 1)); // largest power of two under a size of 2 and more

async function rootOf(hashes) {
  while (hashes.length > 1) {
    const next = [];
    for (let n = 0; n < hashes.length; n += 2) next.push(await nodeHash(hashes[n], hashes[n + 1]));
    hashes = next;
  }
  return hashes[0];
}

async function subtree(shard, start, stop) {
  const size = stop - start;
  const level = Math.round(Math.log2(size));
  if (2 ** level !== size || start % size) {
    const split = start + below(size);
    return nodeHash(await subtree(shard, start, split), await subtree(shard, split, stop));
  }
  const high = Math.floor(level / 8);
  const first = start / WIDTH ** high;
  const count = size / WIDTH ** high;
  const bytes = await tile(shard, high, Math.floor(first / WIDTH));
  const at = (first % WIDTH) * 32;
  return rootOf(Array.from({ length: count }, (_, n) => bytes.slice(at + n * 32, at + n * 32 + 32)));
}

async function inclusion(shard, index, start, stop) {
  if (stop - start === 1) return [];
  const split = start + below(stop - start);
  return index < split
    ? [...await inclusion(shard, index, start, split), await subtree(shard, split, stop)]
    : [...await inclusion(shard, index, split, stop), await subtree(shard, start, split)];
}

async function rootBy(index, size, hash, path) { // RFC 9162 2.1.3.2
  let node = index;
  let last = size - 1;
  for (const sibling of path) {
    if (last === 0) return null;
    if (node % 2 === 1 || node === last) {
      hash = await nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) { node = Math.floor(node / 2); last = Math.floor(last / 2); }
    } else {
      hash = await nodeHash(hash, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? hash : null;
}

async function rootOfLeaves(leaves) {
  // Frontier: the roots of complete subtrees, largest first.
  const stack = [];
  let count = 0;
  for (const leaf of leaves) {
    let hash = await leafHash(leaf);
    for (let n = count; n % 2 === 1; n = Math.floor(n / 2)) hash = await nodeHash(stack.pop(), hash);
    stack.push(hash);
    count += 1;
  }
  let root = stack.pop() ?? await sha256();
  while (stack.length) root = await nodeHash(stack.pop(), root);
  return root;
}

// --- the signature ---

const idOf = async (name, key) => (await sha256(new TextEncoder().encode(`${name}\n`), key)).slice(0, 4);

async function signedBy(vkey, note) {
  const [name, id, encoded] = [vkey.split("+")[0], vkey.split("+")[1], vkey.split("+").slice(2).join("+")];
  const key = from64(encoded);
  if (key[0] !== 1 || key.length !== 33) throw new Error("this key is none of Ed25519");
  if (hex(await idOf(name, key)) !== id) throw new Error("this key's id is not its own");
  if (yearIn(name) === null || yearIn(note.origin) === null) return false;
  const own = await idOf(note.origin, key); // all shards have the log's keys, under names of their own
  const found = note.signatures.find((s) => s.name === note.origin && equal(s.signature.slice(0, 4), own));
  if (!found) return false;
  const key_ = await crypto.subtle.importKey("raw", key.slice(1), { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, key_, found.signature.slice(4), new TextEncoder().encode(note.text));
}

function verdict(good, text) {
  const line = document.createElement("li");
  line.className = good ? "good" : "bad";
  line.textContent = `${good ? "✓" : "✗"} ${text}`;
  $("verdict").append(line);
}

async function verifySignature() {
  try {
    verdict(await signedBy($("vkey").value.trim(), log.newest.note), `the checkpoint of ${log.newest.size} entries is signed by this key (Ed25519)`);
  } catch (error) {
    verdict(false, `the signature could not be checked: ${error.message}`);
  }
}

async function leadsToRoot(shard, index, leaf) {
  const path = await inclusion(shard, index, 0, shard.size);
  const root = await rootBy(index, shard.size, await leafHash(leaf), path);
  return [root !== null && equal(root, shard.note.root), path.length];
}

// A shard that is over ended as the next one says in its first entry, and so on to the one that is signed.
async function verifyEnds(from) {
  for (const [n, shard] of log.shards.entries()) {
    const next = log.shards[n + 1];
    if (!next || shard.first < from.first || !next.size) continue;
    const text = `${shard.note.origin} ended with ${shard.size} entries as the first entry of ${next.note.origin} says`;
    try {
      const leaf = await leafAt(next, 0);
      const [leads] = await leadsToRoot(next, 0, leaf);
      const { note } = shard;
      const after = entry(leaf).data?.after ?? {};
      const same = after.origin === note.origin && after.size === note.size && after.root === hex(note.root)
        && after.checkpoint === hex(await sha256(new TextEncoder().encode(note.text)));
      verdict(leads && entry(leaf).type === "log.begin" && same, text);
    } catch (error) {
      verdict(false, `${text}: could not be checked: ${error.message}`);
    }
  }
}

async function verifyOne() {
  $("verdict").replaceChildren();
  const seq = Number($("index").value);
  if (!Number.isInteger(seq) || seq < 0 || seq >= log.size) return verdict(false, `there is no entry ${$("index").value}`);
  await verifySignature();
  const shard = shardOf(seq);
  await verifyEnds(shard);
  try {
    const leaf = await leafAt(shard, seq - shard.first);
    const [leads, hashes] = await leadsToRoot(shard, seq - shard.first, leaf);
    verdict(leads, `entry ${seq} leads by ${hashes} hashes to the ${shard === log.newest ? "signed root" : `root of ${shard.note.origin}`}`);
    verdict(JSON.parse(new TextDecoder().decode(leaf)).seq === seq, `the entry says that it is number ${seq}`);
  } catch (error) {
    verdict(false, `entry ${seq} could not be checked: ${error.message}`);
  }
}

async function verifyAll() {
  $("verdict").replaceChildren();
  await verifySignature();
  await verifyEnds(log.shards[0]);
  for (const shard of log.shards) {
    const where = log.shards.length > 1 ? ` in ${shard.note.origin}` : "";
    try {
      const leaves = [];
      for (let n = 0; n * WIDTH < shard.size; n += 1) leaves.push(...await entriesOf(shard, n));
      verdict(leaves.length === shard.size, `${leaves.length} entries are there${where}`);
      verdict(equal(await rootOfLeaves(leaves), shard.note.root), `their hashes, computed anew, give the ${shard === log.newest ? "signed root" : "root with which it ended"}`);
    } catch (error) {
      verdict(false, `the entries could not be read${where}: ${error.message}`);
    }
  }
}

// --- what is shown ---

function cell(row, text, head = false) {
  const made = document.createElement(head ? "th" : "td");
  made.textContent = text;
  row.append(made);
}

const hour = (entry) => new Date(entry.t * 3600000).toISOString().slice(0, 16).replace("T", " ");
const short = (_, value) => (typeof value === "string" && value.length > 100 ? `${value.slice(0, 60)}… (${value.length} characters: save JSONL)` : value);
const details = ({ v, seq, type, t, ...rest }) => (Object.keys(rest).length ? JSON.stringify(rest, short) : "");

function showEntries() {
  const wanted = $("type").value;
  const chosen = log.entries.filter((entry) => !wanted || entry.type === wanted).reverse();
  $("entries").replaceChildren(...chosen.slice(0, MOST_ROWS).map((entry) => {
    const row = document.createElement("tr");
    [entry.seq, hour(entry), WORDS[entry.type] ?? entry.type, details(entry)].forEach((text) => cell(row, text));
    return row;
  }));
  const gaps = log.skipped.map(([from, to]) => `${from} to ${to - 1}`).join(", ");
  const left = gaps ? ` Entries ${gaps} were not loaded: use tactful log fsck for all.` : "";
  $("more").textContent = `${Math.min(chosen.length, MOST_ROWS)} of ${chosen.length} entries shown.${left}`;
}

function showDays() {
  const days = new Map();
  for (const entry of log.entries) {
    const state = STATES.indexOf(entry.type);
    if (state < 0) continue;
    const day = hour(entry).slice(0, 10);
    if (!days.has(day)) days.set(day, STATES.map(() => 0));
    days.get(day)[state] += 1;
  }
  const shown = [...days].sort(([a], [b]) => (a < b ? -1 : 1)).slice(-60);
  if (!shown.length) { $("days").textContent = "No entry tells of a consent, or the log is sealed."; return; }
  const most = Math.max(...shown.map(([, counts]) => counts.reduce((a, b) => a + b)));
  const years = shown[0][0].slice(0, 4) !== shown.at(-1)[0].slice(0, 4);
  const wide = Math.min(years ? 80 : 60, 900 / shown.length);
  const bars = shown.map(([day, counts], n) => {
    let y = 130;
    const parts = counts.map((count, state) => {
      const height = (110 * count) / most;
      y -= height;
      return `<rect x="${40 + n * wide}" y="${y}" width="${wide * 0.8}" height="${height}" fill="${COLOURS[state]}"/>`;
    });
    const label = n % Math.ceil(shown.length / 8) ? "" : `<text x="${40 + n * wide}" y="146">${day.slice(years ? 0 : 5)}</text>`;
    return parts.join("") + label;
  });
  const legend = STATES.map((state, n) => `<rect x="${40 + n * 150}" y="156" width="10" height="10" fill="${COLOURS[n]}"/><text x="${55 + n * 150}" y="165">${WORDS[state]}</text>`);
  const rows = shown.map(([day, counts]) => `<tr><th scope="row">${day}</th>${counts.map((count) => `<td>${count}</td>`).join("")}</tr>`);
  $("days").innerHTML = `<svg viewBox="0 0 960 172" role="img" aria-label="Consent states by day, as in the table"><text x="0" y="25">${most}</text><text x="0" y="130">0</text>${bars.join("")}${legend.join("")}</svg>`
    + `<details><summary>As a table</summary><table><thead><tr><th scope="col">Day</th>${STATES.map((state) => `<th scope="col">${WORDS[state]}</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table></details>`;
}

function showKeys() {
  const rows = log.entries.filter((entry) => KEYS.includes(entry.type)).map((entry) => {
    const row = document.createElement("tr");
    [hour(entry), WORDS[entry.type], entry.seq, details(entry)].forEach((text) => cell(row, text));
    return row;
  });
  $("keys").replaceChildren(...rows);
}

function showCheckpoint() {
  const { note, size } = log.newest;
  const facts = {
    Log: note.origin, Entries: size, Root: to64(note.root),
    Signatures: note.signatures.map((s) => `${s.name} (${s.signature.length === 68 ? "Ed25519" : `${s.signature.length - 4} bytes`})`).join(", "),
  };
  if (log.shards.length > 1) {
    const ended = log.shards.slice(0, -1).map((shard) => `${shard.note.origin} (entries ${shard.first} to ${shard.first + shard.size - 1})`);
    facts["Shards before"] = ended.join(", ");
  }
  $("checkpoint").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
  const retired = new Set(log.entries.filter((entry) => entry.type === "key.retire").map((entry) => entry.key));
  const own = log.entries.filter((entry) => entry.type === "key.add" && entry.data?.vkey && !retired.has(entry.key)).map((entry) => entry.data.vkey);
  $("vkey").value ||= own.find((vkey) => from64(vkey.split("+").slice(2).join("+"))[0] === 1) ?? "";
  $("at").value ||= new Date().toISOString().slice(0, 19);
  $("index").max = log.size - 1;
  $("index").value = log.size - 1;
}

// --- files to take away ---

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function toCsv() {
  const quote = (value) => `"${String(value ?? "").replace(/"/g, '""').replace(/^[=+\-@\t]/, "'$&")}"`;
  const head = ["seq", "hour", "type", "commit", "ct", "key", "data"];
  const rows = log.entries.map((e) => [e.seq, hour(e), e.type, e.commit, e.ct, e.key, e.data ? JSON.stringify(e.data) : ""].map(quote).join(","));
  return [head.join(","), ...rows, ""].join("\r\n");
}

// What privacy.rejudge reads: every part under a proof of the checkpoint of its shard.
async function proofOf(seq) {
  const shard = shardOf(seq);
  const path = await inclusion(shard, seq - shard.first, 0, shard.size);
  return ["c2sp.org/tlog-proof@v1", `index ${seq - shard.first}`, ...path.map(to64), "", shard.note.note].join("\n");
}

const named = (opening, name) => opening[`tactful:${name}`];

async function openings(file) {
  if (!file) return [];
  const found = JSON.parse(await file.text())["@graph"].flatMap((record) => record["dpv:hasConsentStatus"].map((status) => status["tactful:opening"]));
  return Promise.all(found.map(async (opening) => {
    const index = named(opening, "index");
    if (!(index < log.size)) throw new Error(`entry ${index} is not in the checkpoint that was opened: open the log again later`);
    return { index, record: named(opening, "record"), key: named(opening, "key"), leaf: named(opening, "leaf"), proof: await proofOf(index) };
  }));
}

async function toBundle() {
  const question = { publisher: $("publisher").value.trim(), purpose: $("purpose").value, at: `${$("at").value}Z` };
  const events = await openings($("export").files[0]);
  const entries = [];
  for (const [n, found] of log.entries.entries()) {
    if (KEYS.includes(found.type)) entries.push({ leaf: new TextDecoder().decode(log.leaves[n]), proof: await proofOf(found.seq) });
  }
  return `${JSON.stringify({ format: "tactful-evidence-v1", question, events, log: entries }, null, 1)}\n`;
}

async function saveBundle(event) {
  event.preventDefault();
  try {
    save("consent-evidence.json", "application/json", await toBundle());
    $("bundle-state").textContent = "Saved. To judge it: tactful log rejudge consent-evidence.json --policy POLICY";
  } catch (error) {
    $("bundle-state").textContent = `No evidence was saved: ${error instanceof TypeError || error instanceof SyntaxError ? "this file is no export of a reader" : error.message}`;
  }
}

// --- opening ---

// The first keys and policy of a shard stand in its first tile, its end in its last one; of the others, the latest.
function tilesToLoad() {
  const chosen = new Map();
  let left = MOST_TILES;
  for (const shard of log.shards.toReversed()) {
    const tiles = Math.ceil(shard.size / WIDTH);
    const start = Math.max(1, tiles - Math.max(1, left));
    chosen.set(shard, Array.from({ length: tiles }, (_, n) => n).filter((n) => n === 0 || n >= start));
    left -= tiles - start;
  }
  return chosen;
}

async function readEntries() {
  const chosen = tilesToLoad();
  [log.leaves, log.entries, log.skipped] = [[], [], []];
  for (const shard of log.shards) {
    for (const n of chosen.get(shard)) {
      const leaves = await entriesOf(shard, n);
      log.entries.push(...leaves.map((leaf, k) => entry(leaf, shard.first + n * WIDTH + k)));
      log.leaves.push(...leaves);
    }
    const later = chosen.get(shard).find((n) => n > 0) ?? 1;
    if (later > 1) log.skipped.push([shard.first + WIDTH, shard.first + later * WIDTH]);
  }
}

async function open(event) {
  event.preventDefault();
  log.key = $("key").value.trim();
  $("verdict").replaceChildren();
  $("state").textContent = "Reading…";
  try {
    delete log.name;
    await readShards();
    await readEntries();
    const types = [...new Set(log.entries.map((entry) => entry.type))].sort();
    $("type").replaceChildren(new Option("all entries", ""), ...types.map((type) => new Option(WORDS[type] ?? type, type)));
    for (const show of [showCheckpoint, showDays, showEntries, showKeys]) show();
    $("opened").hidden = false;
    $("state").textContent = log.shards.length > 1 ? `${log.size} entries in ${log.shards.length} shards.` : `${log.size} entries.`;
  } catch (error) {
    $("opened").hidden = true;
    $("state").textContent = `The log could not be read: ${error.message}`;
  }
}

$("open").addEventListener("submit", open);
$("verify").addEventListener("click", verifyOne);
$("verify-all").addEventListener("click", verifyAll);
$("type").addEventListener("change", showEntries);
$("csv").addEventListener("click", () => save("consent-log.csv", "text/csv", toCsv()));
$("jsonl").addEventListener("click", () => save("consent-log.jsonl", "application/jsonl", log.entries.map((e) => `${JSON.stringify(e)}\n`).join("")));
$("evidence").addEventListener("submit", saveBundle);
