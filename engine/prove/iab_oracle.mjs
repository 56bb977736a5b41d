// The IAB's own decoders as an oracle: one JSON string a line in, `null` (refused) or what the string says out.
//
// node iab_oracle.mjs [FOLDER]: FOLDER/node_modules holds @iabtcf/core and @iabgpp/cmpapi; without it they are
// looked for where `npm install --global` puts them.

import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

// Ids are 16 bits wide: what grows beyond this would only be damage that makes a decoder loop for minutes.
const MOST_IDS = 5_000_000;
class NoVerdict extends Error {}

export function load(folder) {
  const places = folder ? [folder] : [process.cwd(), path.join(path.dirname(process.execPath), '..', 'lib')];
  for (const place of places) {
    const require = createRequire(path.join(path.resolve(place), 'package.json'));
    try {
      return { core: require('@iabtcf/core'), cmpapi: require('@iabgpp/cmpapi') };
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new Error('the oracle needs: npm install --global @iabtcf/core @iabgpp/cmpapi');
}

export function oracle({ core, cmpapi }) {
  guard(core);
  return (kind, text) => {
    try {
      return kind === 'tcf' ? tcf(core, text) : gpp(cmpapi, core, text);
    } catch (error) {
      return error instanceof NoVerdict ? 'no verdict' : null;
    }
  };
}

function guard(core) {
  const push = Array.prototype.push;
  Array.prototype.push = function (...items) {
    if (this.length > MOST_IDS) throw new NoVerdict();
    return push.apply(this, items);
  };
  // The tree that holds restricted vendors is never balanced, so its time grows with the square of what damaged ranges
  // add. It is a sorted set of numbers: here it holds them in one.
  Object.assign(core.BinarySearchTree.prototype, {
    add(value) { (this.values ??= new Set()).add(value); },
    get() { return [...(this.values ?? [])].sort((a, b) => a - b); },
    contains(value) { return this.values?.has(value) ?? false; },
    isEmpty() { return !this.values?.size; },
  });
}

// Sorted ids as inclusive ranges, both ends in one flat list.
function ranges(ids) {
  const flat = [];
  for (const id of [...new Set(ids)].sort((a, b) => a - b)) {
    if (flat.length && flat[flat.length - 1] === id - 1) flat[flat.length - 1] = id;
    else flat.push(id, id);
  }
  return flat;
}

const flags = (list) => ranges(list.flatMap((set, index) => (set ? [index + 1] : [])));
const tenths = (date) => date.getTime() / 100;

// Restrictions merged by purpose and kind, without those of no vendor.
function merged(list) {
  const found = new Map();
  for (const [purpose, kind, ids] of list) {
    const key = purpose * 4 + kind;
    found.set(key, [...(found.get(key) ?? []), ...ids]);
  }
  return [...found].filter(([, ids]) => ids.length).sort((a, b) => a[0] - b[0])
    .map(([key, ids]) => [key >> 2, key & 3, ranges(ids)]);
}

function tcf(core, text) {
  const m = core.TCString.decode(text);
  const ids = (vector) => ranges(vector.values());
  const restricted = m.publisherRestrictions;
  return {
    version: m.version, created: tenths(m.created), updated: tenths(m.lastUpdated), cmp: m.cmpId,
    cmp_version: m.cmpVersion, screen: m.consentScreen, language: m.consentLanguage,
    vendor_list: m.vendorListVersion, policy: m.policyVersion, service_specific: m.isServiceSpecific,
    non_standard_texts: m.useNonStandardTexts ?? m.useNonStandardStacks,
    special_features: ids(m.specialFeatureOptins), purpose_consents: ids(m.purposeConsents),
    purpose_legitimate_interests: ids(m.purposeLegitimateInterests),
    purpose_one_treatment: m.purposeOneTreatment, country: m.publisherCountryCode,
    vendor_consents: ids(m.vendorConsents), vendor_legitimate_interests: ids(m.vendorLegitimateInterests),
    restrictions: merged(restricted.getRestrictions()
      .map((r) => [r.purposeId, r.restrictionType, restricted.getVendors(r)])),
    disclosed: ids(m.vendorsDisclosed), allowed: ids(m.vendorsAllowed),
    publisher: [ids(m.publisherConsents), ids(m.publisherLegitimateInterests), m.numCustomPurposes,
      ids(m.publisherCustomConsents), ids(m.publisherCustomLegitimateInterests)],
  };
}

function gpp(cmpapi, core, text) {
  const model = new cmpapi.GppModel(text);
  const sections = {};
  const european_at = model.getSectionIds().indexOf(2); // ids come in ascending order, as the sections do
  if (european_at >= 0 && refuses(core, text.split('~')[european_at + 1])) sections.doubted = true;
  for (const [name, fields] of Object.entries(model.toObject())) {
    if (name === 'tcfeuv2') sections[name] = european(fields);
    else if (name === 'tcfcav1') sections[name] = canadian(fields);
    else {
      const { GpcSegmentType, GpcSegmentIncluded, SensitiveDataConsentSegmentIncluded, ...rest } = fields;
      sections[name] = rest;
    }
  }
  return sections;
}

// Whether the library of TC strings refuses a section that the other took.
function refuses(core, text) {
  try {
    core.TCString.decode(text);
    return false;
  } catch (error) {
    if (error instanceof NoVerdict) throw error;
    return true;
  }
}

function european(o) {
  return {
    version: o.Version, created: tenths(o.Created), updated: tenths(o.LastUpdated), cmp: o.CmpId,
    cmp_version: o.CmpVersion, screen: o.ConsentScreen, language: o.ConsentLanguage,
    vendor_list: o.VendorListVersion, policy: o.PolicyVersion, service_specific: o.IsServiceSpecific,
    non_standard_texts: o.UseNonStandardStacks, special_features: flags(o.SpecialFeatureOptins),
    purpose_consents: flags(o.PurposeConsents),
    purpose_legitimate_interests: flags(o.PurposeLegitimateInterests),
    purpose_one_treatment: o.PurposeOneTreatment, country: o.PublisherCountryCode,
    vendor_consents: ranges(o.VendorConsents), vendor_legitimate_interests: ranges(o.VendorLegitimateInterests),
    restrictions: merged(o.PublisherRestrictions.map((r) => [r.getKey(), r.getType(), r.getIds()])),
    disclosed: ranges(o.VendorsDisclosed), allowed: ranges(o.VendorsAllowed),
    publisher: [flags(o.PublisherConsents), flags(o.PublisherLegitimateInterests), o.NumCustomPurposes,
      flags(o.PublisherCustomConsents), flags(o.PublisherCustomLegitimateInterests)],
  };
}

function canadian(o) {
  return {
    created: tenths(o.Created), updated: tenths(o.LastUpdated), cmp: o.CmpId, policy: o.TcfPolicyVersion,
    purpose_consents: flags(o.PurposesExpressConsent), implied_purposes: flags(o.PurposesImpliedConsent),
    vendor_consents: ranges(o.VendorExpressConsent), implied_vendors: ranges(o.VendorImpliedConsent),
    restrictions: merged(o.PubRestrictions.map((r) => [r.getKey(), r.getType(), r.getIds()])),
    disclosed: ranges(o.DisclosedVendors),
    publisher: [flags(o.PubPurposesExpressConsent), flags(o.PubPurposesImpliedConsent), o.NumCustomPurposes,
      flags(o.CustomPurposesExpressConsent), flags(o.CustomPurposesImpliedConsent)],
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const judge = oracle(load(process.argv[2]));
  for await (const line of createInterface({ input: process.stdin })) {
    const [kind, text] = JSON.parse(line);
    console.log(JSON.stringify(judge(kind, text)));
  }
}
