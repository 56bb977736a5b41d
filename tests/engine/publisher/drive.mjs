// Drives bridge.mjs: a job in JSON on standard input, what each step came to on standard output.

import { Bridge, restrict } from '../../../engine/publisher/bridges/bridge.mjs';

let input = '';
for await (const piece of process.stdin) input += piece;
const { bridge: given, steps } = JSON.parse(input);
const now = new Date(given.now * 1000);
const bridge = new Bridge({ ...given, apiKey: given.api_key, seed: Buffer.from(given.seed, 'hex'), vendorId: given.vendor_id, now: () => now });
const results = [];
let kept = null;
for (const { act, reader, purposes, notice, expressed_by: by, signals, days, life_s: life } of steps) {
  try {
    if (act === 'restrict') {
      const { role, vendor_id: vendorId, ...rest } = signals;
      results.push(restrict(purposes, { ...rest, role, vendorId, now }));
    } else if (act === 'grant') results.push((kept = await bridge.grant(reader, purposes, notice, by, signals, { days })));
    else if (act === 'renew') results.push((kept = await bridge.grant(reader, purposes, notice, by, signals, { kept, days })));
    else if (act === 'refuse') results.push((await bridge.refuse(purposes, notice, by)) ?? null);
    else if (act === 'token') results.push(bridge.token(reader, kept, signals, life));
    else results.push((await bridge.withdraw(kept)) ?? null);
  } catch (error) {
    results.push({ error: error.constructor.name, reason: error.reason ?? null });
  }
}
console.log(JSON.stringify(results));
