// Judges claims about a log by @sigstore/verify and @noble/post-quantum: one JSON object a line in, "ok" or the error
// out. node verify.mjs NODE_MODULES
import { createPublicKey } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const modules = process.argv[2];
const require = createRequire(join(modules, 'here.js'));
const tlog = join(modules, '@sigstore', 'verify', 'dist', 'tlog');
const { verifyCheckpoint, LogCheckpoint } = require(join(tlog, 'checkpoint.js'));
const { verifyMerkleInclusion } = require(join(tlog, 'merkle.js'));
const { ml_dsa44: mlDsa44 } = await import(join(modules, '@noble', 'post-quantum', 'ml-dsa.js'));

const bytes = (text) => Buffer.from(text, 'base64');
// Ed25519 in SubjectPublicKeyInfo: RFC 8410 section 4.
const keyOf = (raw) =>
  createPublicKey({ key: Buffer.concat([bytes('MCowBQYDK2VwAyEA'), raw]), format: 'der', type: 'spki' });

function judge(claim) {
  if (claim.Kind === 'checkpoint') {
    const [, name, id, key] = /^([^+]*)\+([^+]*)\+(.*)$/.exec(claim.Vkey); // base64 has '+', too
    const log = { logID: Buffer.from(id, 'hex'), baseURL: name, publicKey: keyOf(bytes(key).subarray(1)) };
    const inclusionProof = { checkpoint: { envelope: bytes(claim.Note).toString('utf8') } };
    const read = verifyCheckpoint({ inclusionProof }, [log]);
    if (read.logSize !== BigInt(claim.Size) || !read.logHash.equals(bytes(claim.Root)) || read.origin !== name) {
      throw new Error('another text');
    }
  } else if (claim.Kind === 'inclusion') {
    const checkpoint = new LogCheckpoint('', BigInt(claim.Size), bytes(claim.Root), []);
    const inclusionProof = { logIndex: String(claim.Index), hashes: (claim.Proof ?? []).map(bytes) };
    verifyMerkleInclusion({ inclusionProof, canonicalizedBody: bytes(claim.Leaf) }, checkpoint);
  } else if (claim.Kind === 'ml-dsa-44') {
    if (!mlDsa44.verify(bytes(claim.Signature), bytes(claim.Message), bytes(claim.Key))) {
      throw new Error('does not verify');
    }
  } else {
    throw new Error(`unknown kind ${claim.Kind}`);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    judge(JSON.parse(line));
    console.log('ok');
  } catch (error) {
    console.log(error.message || String(error));
  }
}
