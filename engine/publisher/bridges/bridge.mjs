// The publisher's bridge from its consent dialogue to consent tokens, for Node 18 and later; nothing to install.
// What it promises is in README.md, and the same code in Python in ../bridge.py.

import { createHash, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

// How each section of the US states is laid out; written from the Python readers, which the tests hold it to.
const US_SECTIONS = JSON.parse(readFileSync(new URL('us_sections.json', import.meta.url), 'utf8'));

// The TCF purpose without whose consent each of ours is refused.
export const TCF_PURPOSE = {
  'ads.select.first_party': 4,
  'ads.profile.first_party': 3,
  'ads.device.first_party': 1,
  'ads.cap.first_party': 2,
  'measure.first_party': 7,
};
const DAY = 86_400_000;
const LONGEST = 8192;

export class BridgeError extends Error {}
export class NotFirstParty extends Error {}
export class NoConsent extends Error {
  constructor(reason) { super(`no purpose is left by the consent string${reason ? `: ${reason}` : ''}`); this.reason = reason; }
}
class Refused extends Error {
  constructor(rule) { super(rule); this.rule = rule; }
}
const refuse = (rule) => { throw new Refused(rule); };

export class Bridge {
  // seed: the issuer's Ed25519 key, 32 bytes (Buffer); sites: the publisher's origins; now: () => Date.
  constructor({ service, publisher, apiKey, issuer, seed, sites, role = 'publisher', vendorId = null, fetch = globalThis.fetch, now = () => new Date() }) {
    if (!/^(https:\/\/|http:\/\/(127\.0\.0\.1|localhost):)/.test(service)) throw new BridgeError('service: expected an https URL');
    if (!['publisher', 'vendor'].includes(role) || (role === 'vendor') !== Number.isInteger(vendorId)) {
      throw new BridgeError('role: expected publisher, or vendor with its id of the Global Vendor List');
    }
    if (seed.length !== 32) throw new BridgeError('seed: expected 32 bytes');
    Object.assign(this, { service: service.replace(/\/+$/, ''), publisher, apiKey, issuer, sites, role, vendorId, fetch, now });
    // RFC 8410: an Ed25519 private key in PKCS #8 is this prefix and the seed.
    this.key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
    const { x } = createPublicKey(this.key).export({ format: 'jwk' });
    this.kid = createHash('sha256').update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest('base64url'); // RFC 7638
  }

  // Record that the reader agrees (with `kept`: anew); resolves to what to store with the account.
  async grant(reader, purposes, notice, expressedBy, signals, { kept = null, days = 180 } = {}) {
    this.#check(reader);
    const left = this.#left(purposes, signals);
    const body = { ...this.#answer(left, notice, expressedBy), days };
    if (signals.tcf) body.tcf = signals.tcf;
    if (signals.gpp) body.gpp = signals.gpp;
    if (signals.gpp_sid?.length) body.gpp_sid = signals.gpp_sid;
    if (kept) body.sub = kept.sub;
    const said = await this.#call('/v1/consents', body, 201);
    const answer = {
      sub: said.sub, generation: said.generation, record_id: said.record_id, purposes: said.purposes,
      expires: said.expires, notice: notice.text_sha256, status_idx: said.status?.idx, status_uri: said.status?.uri,
      rights_token: said.rights_token,
    };
    for (const [name, value] of Object.entries(answer)) if (value == null) throw new BridgeError(`/v1/consents: the answer lacks ${name}`);
    return answer;
  }

  // Record that a reader refused; nothing that names the reader is sent.
  async refuse(purposes, notice, expressedBy) {
    await this.#call('/v1/consents', { ...this.#answer(purposes, notice, expressedBy), state: 'refused' }, 201);
  }

  // Mint the next token; null where the consent is over, or today's string leaves none of its purposes.
  token(reader, kept, signals, lifeS = 600) {
    this.#check(reader);
    if (!(Number.isInteger(lifeS) && lifeS > 0 && lifeS <= 3600)) throw new BridgeError('lifeS: expected 1 to 3600 seconds');
    const [left] = restrict(kept.purposes, { ...signals, role: this.role, vendorId: this.vendorId, now: this.now() });
    const issued = Math.floor(this.now().getTime() / 1000);
    const remaining = Math.floor((Date.parse(kept.expires) - this.now().getTime()) / 1000);
    if (!left.length || !(remaining > 0)) return null;
    return this.#jws({
      iss: this.issuer, aud: `ctx:${this.publisher}`, sub: kept.sub, jti: randomBytes(16).toString('hex'),
      iat: issued, nbf: issued, exp: issued + Math.min(lifeS, remaining), gen: kept.generation,
      pur: [...left].sort(), notice: kept.notice, rec: kept.record_id,
      status: { status_list: { idx: kept.status_idx, uri: kept.status_uri } },
    });
  }

  // End the consent: every token is void from now on.
  async withdraw(kept) {
    await this.#call('/v1/consents/withdraw', { publisher: this.publisher, rights_token: kept.rights_token }, 200);
  }

  #check({ account, origin, fetch_site: site, fetch_dest: dest }) {
    if (!account) throw new NotFirstParty('account: expected the account that the reader is signed in with');
    // A document that the browser opens by itself is first-party wherever the link stood.
    if (dest === 'document' || site === 'same-origin' || site === 'same-site') return;
    if (site != null || !this.sites.includes(origin)) throw new NotFirstParty("request: expected one from the publisher's own pages");
  }

  #left(purposes, signals) {
    if (!purposes.every((purpose) => Object.hasOwn(TCF_PURPOSE, purpose))) throw new BridgeError('purposes: got an unknown one');
    const [left, reason] = restrict(purposes, { ...signals, role: this.role, vendorId: this.vendorId, now: this.now() });
    if (!left.length) throw new NoConsent(reason);
    return left;
  }

  #answer(purposes, notice, expressedBy) {
    const { text_sha256, language, version } = notice;
    return { publisher: this.publisher, purposes: [...purposes].sort(), notice: { text_sha256, language, version }, expressed_by: expressedBy };
  }

  #jws(claims) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part({ alg: 'Ed25519', typ: 'consent+jwt', kid: this.kid })}.${part(claims)}`;
    return `${text}.${sign(null, Buffer.from(text), this.key).toString('base64url')}`;
  }

  async #call(path, body, expected) {
    const answer = await this.fetch(this.service + path, {
      method: 'POST', redirect: 'error', signal: AbortSignal.timeout(5000), body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${this.apiKey}` },
    }).catch(() => { throw new BridgeError(`${path}: the service cannot be reached`); });
    if (answer.status !== expected) throw new BridgeError(`${path}: the service answered ${answer.status}, expected ${expected}`);
    return answer.json().catch(() => { throw new BridgeError(`${path}: the service did not answer JSON`); });
  }
}

// --- consent strings: they only ever take purposes away ---

// Returns [the purposes that are left, why a string is invalid or null].
export function restrict(purposes, { tcf = null, gpp = null, gpp_sid: sid = [], gdpr = null, role = 'publisher', vendorId = null, now = new Date() }) {
  const applied = new Set((sid ?? []).filter((number) => number > 0));
  let left = [...purposes];
  let heard = false;
  const hear = (said) => {
    checkLawful(said, now);
    left = left.filter((purpose) => consented(said, TCF_PURPOSE[purpose], role, vendorId));
    heard = true;
  };
  let kind = 'tcf';
  try {
    if (tcf) hear(readTcf(tcf));
    kind = 'gpp';
    if (gpp) {
      const sections = readGpp(gpp);
      for (const number of applied) if (!sections.has(number)) refuse('sections');
      for (const [number, said] of sections) {
        if (number !== 2) left = said ? [] : left;
        else if (!applied.size || applied.has(2) || gdpr === 1) hear(said);
      }
    } else if (applied.size) refuse('empty');
    kind = 'tcf';
    if (gdpr === 1 && !heard) refuse('empty');
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return [[], `${kind}_${error.rule}`];
  }
  return [left, null];
}

function consented(said, number, role, vendorId) {
  if (!said.purposes(number)) return false;
  if (role === 'publisher') return said.publisher ? said.publisher(number) : true;
  return said.vendors(vendorId) && (!said.disclosed || said.disclosed(vendorId))
    && !said.restrictions.some(([purpose, kind, vendors]) => purpose === number && kind !== 1 && vendors(vendorId));
}

function checkLawful(said, now) {
  if (said.policy < 4) refuse('policy');
  if (!said.specific) refuse('scope');
  if (said.policy >= 5 && !said.disclosed) refuse('undisclosed');
  if (!(said.created <= said.updated && said.updated <= now.getTime() + 300_000)) refuse('future');
  if (now.getTime() - said.updated > 397 * DAY) refuse('stale');
}

function checkText(text) {
  if (text.length > LONGEST) refuse('too_long');
  if (/\$\{|\{\{|%%|\[[A-Z]|%24%7B/.test(text)) refuse('macro');
}

export function readTcf(text) {
  checkText(text);
  const [first, ...others] = text.split('.');
  const said = readCore(first);
  const seen = new Set();
  for (const segment of others) {
    const bits = new Bits(segment);
    const kind = bits.number(3);
    if (kind < 1 || kind > 3 || seen.has(kind)) refuse('segments');
    seen.add(kind);
    if (kind === 1) said.disclosed = bits.vendors();
    if (kind === 2) bits.vendors();
    if (kind === 3) {
      const [consents, interests, custom] = [bits.field(24), bits.field(24), bits.number(6)];
      bits.field(custom);
      bits.field(custom);
      if (said.policy <= 5) checkReserved([consents, interests]);
      said.publisher = has(consents);
    }
    bits.end(24);
  }
  return said;
}

function readCore(segment) {
  const bits = new Bits(segment);
  if (bits.number(3) !== 0) refuse('segments');
  if (bits.number(3) !== 2) refuse('version');
  const [created, updated] = [bits.number(36) * 100, bits.number(36) * 100];
  if (bits.number(12) < 2) refuse('cmp');
  bits.number(12 + 6); // the CMP's version and screen
  bits.letters();
  bits.number(12); // the vendor list's version
  const [policy, specific] = [bits.number(6), bits.number(1) === 1];
  bits.number(1); // texts of the CMP's own
  const special = bits.field(12);
  const [consents, interests] = [bits.field(24), bits.field(24)];
  bits.number(1); // purpose 1 was not disclosed
  bits.letters();
  const vendors = bits.vendors();
  bits.vendors(); // legitimate interest, which is no consent
  const restrictions = [];
  for (let left = bits.number(12); left > 0; left -= 1) {
    const [purpose, kind] = [bits.number(6), bits.number(2)];
    const restricted = bits.ranges(65535);
    if (purpose < 1 || purpose > 11 || kind === 3) refuse('restriction');
    restrictions.push([purpose, kind, restricted]);
  }
  bits.end(24);
  if (policy <= 5) {
    if (special.slice(2).includes('1')) refuse('reserved');
    checkReserved([consents, interests]);
  }
  return { created, updated, policy, specific, purposes: has(consents), vendors, restrictions, disclosed: null, publisher: null };
}

function checkReserved(fields) {
  if (fields.some((field) => field.slice(11).includes('1'))) refuse('reserved');
}

// Returns section number → a TC string, or whether a US section objects. A Canadian section is refused as unknown.
export function readGpp(text) {
  checkText(text);
  const [header, ...bodies] = text.split('~');
  const bits = new Bits(header);
  if (bits.number(6) !== 3 || bits.number(6) !== 1) refuse('version');
  const numbers = [];
  let last = 0;
  for (let left = bits.number(12); left > 0; left -= 1) {
    const pair = bits.number(1);
    const start = last + bits.fibonacci();
    last = pair ? start + bits.fibonacci() : start;
    if (last - start > 64 || last > 65535) refuse('sections');
    for (let number = start; number <= last; number += 1) numbers.push(number);
  }
  bits.end(12);
  if (numbers.length !== bodies.length) refuse('sections');
  return new Map(numbers.map((number, at) => [number, readSection(number, bodies[at])]));
}

function readSection(number, body) {
  if (number === 2) return readTcf(body);
  if (number === 6) return /^1[YN-][YN-][YN-]$/.test(body) ? body[2] === 'Y' : refuse('value');
  if (!Object.hasOwn(US_SECTIONS, number)) refuse('section');
  const [core, ...more] = body.split('.');
  const bits = new Bits(core);
  const version = bits.number(6);
  const section = US_SECTIONS[number].find((one) => one.version === version) ?? refuse('version');
  let objects = false;
  for (const [name, count] of section.layout) {
    for (let at = 0; at < count; at += 1) {
      const value = bits.number(2);
      if (value === 3 || (name === 'MspaCoveredTransaction' && value === 0)) refuse('value');
      objects ||= (value === 1 && section.no.includes(name)) || (value > 0 && name === section.child);
    }
  }
  bits.end(12);
  if (more.length > (section.gpc || section.sensitive ? 1 : 0)) refuse('segments');
  if (more.length) {
    const second = new Bits(more[0]);
    if (section.sensitive) {
      for (let at = 0; at < section.sensitive; at += 1) if (second.number(2) === 3) refuse('value');
    } else {
      if (second.number(2) !== 1) refuse('segments');
      objects = second.number(1) === 1 || objects;
    }
    second.end(12);
  }
  return objects;
}

// Whether a field of bits holds an id, the first bit being id 1.
const has = (field) => (id) => id > 0 && field[id - 1] === '1';

const SIX = new Map([...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_']
  .map((letter, value) => [letter, value.toString(2).padStart(6, '0')]));

class Bits {
  constructor(segment) {
    if (!segment) refuse('segments');
    if (!/^[A-Za-z0-9_-]+$/.test(segment)) refuse('alphabet');
    this.bits = Array.from(segment, (letter) => SIX.get(letter)).join('');
    this.at = 0;
  }

  field(width) {
    this.at += width;
    if (this.at > this.bits.length) refuse('truncated');
    return this.bits.slice(this.at - width, this.at);
  }

  number(width) { return parseInt(this.field(width), 2); }

  letters() { if (this.number(6) > 25 | this.number(6) > 25) refuse('letters'); }

  vendors() {
    const most = this.number(16);
    return this.number(1) ? this.ranges(most) : has(this.field(most));
  }

  ranges(most) {
    const found = [];
    for (let left = this.number(12); left > 0; left -= 1) {
      const pair = this.number(1);
      const start = this.number(16);
      const end = pair ? this.number(16) : start;
      if (!(start > 0 && start <= end && end <= most)) refuse('range');
      found.push([start, end]);
    }
    return (id) => found.some(([start, end]) => start <= id && id <= end);
  }

  fibonacci() {
    const stop = this.bits.indexOf('11', this.at);
    if (stop < 0) refuse('truncated');
    if (stop - this.at > 24) refuse('range');
    let [value, a, b] = [0, 1, 2];
    for (const digit of this.bits.slice(this.at, stop + 1)) {
      if (digit === '1') value += a;
      [a, b] = [b, a + b];
    }
    this.at = stop + 2;
    return value;
  }

  end(padding) {
    const rest = this.bits.slice(this.at);
    if (rest.length >= padding) refuse('too_much');
    if (rest.includes('1')) refuse('padding');
  }
}
