// Writes vectors.json: consent strings as @iabtcf/core 1.5.6 and @iabgpp/cmpapi 3.2.0 encode them, and what the same
// libraries read in them. node make_vectors.mjs [FOLDER with node_modules] > vectors.json

import { load, oracle } from '../../../engine/prove/iab_oracle.mjs';

// The GPP library stamps each section with the current day.
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...given) { super(...(given.length ? given : ['2026-03-02T00:00:00Z'])); }
};

const libraries = load(process.argv[2]);
const judge = oracle(libraries);
const { GVL, PurposeRestriction, RestrictionType, TCModel, TCString } = libraries.core;
const { NOT_ALLOWED, REQUIRE_CONSENT, REQUIRE_LI } = RestrictionType;
const { GppModel } = libraries.cmpapi;

const to = (first, last) => Array.from({ length: last - first + 1 }, (_, at) => first + at);
let state = 12345;
const random = () => (state = (state * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
const sample = (most, share) => to(1, most).filter(() => random() < share);

// A vendor list of 1300 invented vendors.
function vendorList(version, policy) {
  const named = (count) => Object.fromEntries(to(1, count).map((id) => [id, { id, name: `${id}`, description: '', illustrations: [] }]));
  const vendors = Object.fromEntries(to(1, 1300).map((id) => [id, {
    id, name: `V${id}`, purposes: id % 2 ? [1, 3, 4, 7, 8, 11] : [1, 2, 5, 6, 9, 10],
    legIntPurposes: id % 2 ? [2, 9, 10] : [7, 8, 11], flexiblePurposes: id % 2 ? [2, 7, 9] : [2, 7, 8],
    specialPurposes: [1, 2], features: [1], specialFeatures: [1], policyUrl: 'https://v.test',
    cookieMaxAgeSeconds: null, usesCookies: true, cookieRefresh: false, usesNonCookieAccess: false,
  }]));
  return new GVL({
    gvlSpecificationVersion: 3, vendorListVersion: version, tcfPolicyVersion: policy,
    lastUpdated: '2026-01-15T16:00:00Z', purposes: named(11), specialPurposes: named(3), features: named(3),
    specialFeatures: named(2), stacks: {}, dataCategories: {}, vendors,
  });
}

const SETS = {
  special: 'specialFeatureOptins', consents: 'purposeConsents', interests: 'purposeLegitimateInterests',
  vendors: 'vendorConsents', vendorInterests: 'vendorLegitimateInterests', allowed: 'vendorsAllowed',
  own: 'publisherConsents', ownInterests: 'publisherLegitimateInterests',
  custom: 'publisherCustomConsents', customInterests: 'publisherCustomLegitimateInterests',
};

function tcf(name, o = {}) {
  const list = [o.list ?? 145, o.policy ?? 5];
  const model = new TCModel(vendorList(...list));
  const day = o.day ?? '2026-03-02';
  Object.assign(model, {
    cmpId: o.cmp ?? 300, cmpVersion: o.cmpVersion ?? 7, consentScreen: o.screen ?? 1, consentLanguage: o.language ?? 'EN',
    isServiceSpecific: o.specific ?? true, useNonStandardStacks: o.texts ?? false, purposeOneTreatment: o.one ?? false,
    publisherCountryCode: o.country ?? 'DE',
    created: new Date(`${day}T00:00:00Z`), lastUpdated: new Date(`${o.updated ?? day}T00:00:00Z`),
  });
  for (const [key, field] of Object.entries(SETS)) if (o[key]?.length) model[field].set(o[key]);
  if (o.customs) model.numCustomPurposes = o.customs;
  if (o.outOfBand !== undefined) model.supportOOB = o.outOfBand;
  for (const [purpose, kind, ids] of o.restrictions ?? []) {
    for (const id of ids) model.publisherRestrictions.add(id, new PurposeRestriction(purpose, kind));
  }
  // The encoder discloses every vendor of the list: the segment comes from a list narrowed to those meant.
  const disclosed = () => {
    const narrowed = vendorList(...list);
    narrowed.narrowVendorsTo(o.disclosed ?? []);
    const other = new TCModel(narrowed);
    Object.assign(other, { cmpId: 300, isServiceSpecific: true, publisherCountryCode: 'DE' });
    return TCString.encode(other, { segments: ['vendorsDisclosed'] });
  };
  const text = (o.segments ?? ['core', 'vendorsDisclosed', 'publisherTC'])
    .map((segment) => (segment === 'vendorsDisclosed' ? disclosed() : TCString.encode(model, { segments: [segment] }))).join('.');
  return { name, kind: 'tcf', text };
}

const ALL = to(1, 11);
const one = { consents: [1], vendors: [1], disclosed: [1] };
const european = [
  tcf('reject_all', { disclosed: to(1, 1200) }),
  tcf('accept_all', { consents: ALL, interests: to(2, 11), special: [1, 2], vendors: to(1, 1200), vendorInterests: to(1, 1200), disclosed: to(1, 1200), own: ALL, ownInterests: to(2, 11) }),
  tcf('accept_all_core_only', { consents: ALL, interests: to(2, 11), vendors: to(1, 900), vendorInterests: to(1, 900), segments: ['core'] }),
  tcf('core_publisher', { consents: [1, 2, 3], vendors: [1, 2, 3], own: [1], segments: ['core', 'publisherTC'] }),
  tcf('core_disclosed', { consents: [1, 7], vendors: [10], disclosed: [10, 755], segments: ['core', 'vendorsDisclosed'] }),
  tcf('no_purpose_1', { consents: [2, 7], vendors: [755, 793], disclosed: [755, 793] }),
  tcf('legitimate_interest_only', { interests: [2, 7, 9, 10], vendorInterests: [10, 20, 30, 755], disclosed: [10, 20, 30, 755] }),
  tcf('purpose_1_only', one),
  tcf('purpose_1_not_disclosed', { one: true, consents: [2, 3, 4], vendors: [5], disclosed: [5] }),
  tcf('precise_place', { special: [1], consents: [1], vendors: [2], disclosed: [2] }),
  tcf('device_scan', { special: [2], consents: [1], vendors: [2], disclosed: [2] }),
  tcf('purpose_11', { consents: [1, 2, 11], interests: [11], vendors: [7, 8], vendorInterests: [7, 8], disclosed: [7, 8] }),
  tcf('field_small', { consents: [1, 2], vendors: [1, 3, 5, 7, 9, 11], vendorInterests: [2, 4, 6, 8], disclosed: to(1, 12) }),
  tcf('field_dense', { consents: ALL, vendors: sample(300, 0.5), vendorInterests: sample(300, 0.4), disclosed: to(1, 300) }),
  tcf('range_sparse', { consents: ALL, vendors: [3, 450, 899, 1300], vendorInterests: [1299], disclosed: [3, 450, 899, 1299, 1300] }),
  tcf('range_blocks', { consents: ALL, vendors: [...to(10, 60), ...to(400, 480), ...to(1000, 1100)], vendorInterests: to(200, 210), disclosed: to(1, 1300) }),
  tcf('range_mixed', { consents: ALL, vendors: [1, ...to(100, 300), 500, ...to(900, 1000), 1250], disclosed: to(1, 1300) }),
  tcf('highest_vendor', { consents: [1], vendors: [1300], disclosed: [1300] }),
  tcf('no_vendor', { consents: ALL, disclosed: to(1, 50) }),
  tcf('undisclosed_vendor', { consents: ALL, vendors: [1, 2, 900], disclosed: [1, 2] }),
  tcf('restriction_not_allowed', { consents: ALL, interests: [2, 7], vendors: to(1, 60), vendorInterests: to(1, 60), disclosed: to(1, 60), restrictions: [[2, NOT_ALLOWED, to(1, 40)]] }),
  tcf('restriction_require_consent', { consents: ALL, interests: [2, 7], vendors: to(1, 60), vendorInterests: to(1, 60), disclosed: to(1, 60), restrictions: [[2, REQUIRE_CONSENT, to(1, 59).filter((id) => id % 2)], [7, REQUIRE_CONSENT, to(2, 40).filter((id) => id % 2 === 0)]] }),
  tcf('restriction_require_interest', { consents: ALL, interests: [2, 7], vendors: to(1, 60), vendorInterests: to(1, 60), disclosed: to(1, 60), restrictions: [[7, REQUIRE_LI, to(1, 39).filter((id) => id % 2)]] }),
  tcf('restrictions_of_each_kind', { consents: ALL, interests: to(2, 11), vendors: to(1, 200), vendorInterests: to(1, 200), disclosed: to(1, 200), restrictions: [[1, NOT_ALLOWED, [5, 9, 11]], [2, REQUIRE_CONSENT, to(101, 199).filter((id) => id % 2)], [4, NOT_ALLOWED, [1, 3, 77]], [7, REQUIRE_LI, [13, 15]]] }),
  tcf('custom_purposes', { ...one, own: [1, 2, 3], ownInterests: [7], customs: 5, custom: [1, 3, 5], customInterests: [2] }),
  tcf('custom_purposes_most', { ...one, customs: 63, custom: to(1, 63), customInterests: [63] }),
  tcf('publisher_only', { own: ALL, ownInterests: to(2, 11), disclosed: to(1, 10) }),
  tcf('global_scope', { specific: false, outOfBand: true, consents: ALL, vendors: to(1, 100), disclosed: to(1, 100), allowed: [1, 5, 10], segments: ['core', 'vendorsDisclosed', 'vendorsAllowed', 'publisherTC'] }),
  tcf('global_scope_two_segments', { specific: false, outOfBand: false, consents: [1], vendors: [1], segments: ['core', 'publisherTC'] }),
  tcf('french', { ...one, language: 'FR', country: 'FR', screen: 63 }),
  tcf('country_unknown', { ...one, language: 'PT', country: 'AA' }),
  tcf('texts_of_its_own', { ...one, texts: true }),
  tcf('policy_2', { policy: 2, list: 48, consents: to(1, 10), interests: [2, 7], vendors: to(1, 700), vendorInterests: to(1, 700), segments: ['core', 'publisherTC'], day: '2021-02-14' }),
  tcf('policy_4', { policy: 4, list: 60, consents: ALL, vendors: to(1, 800), segments: ['core', 'publisherTC'], day: '2026-02-20' }),
  tcf('policy_4_publisher', { policy: 4, list: 60, consents: ALL, own: ALL, vendors: to(1, 800), segments: ['core', 'publisherTC'], day: '2026-02-20' }),
  tcf('old', { ...one, day: '2023-12-01', updated: '2024-01-10' }),
  tcf('renewed', { ...one, consents: ALL, day: '2024-12-01', updated: '2026-01-10' }),
  tcf('leap_day', { ...one, day: '2024-02-29' }),
  tcf('highest_numbers', { ...one, cmp: 4095, cmpVersion: 4095, list: 4095 }),
  tcf('segments_in_another_order', { consents: [1, 2, 7], vendors: [1, 2, 3], disclosed: to(1, 9), own: [1, 7], segments: ['core', 'publisherTC', 'vendorsDisclosed'] }),
  tcf('four_segments', { consents: ALL, vendors: to(1, 30), disclosed: to(1, 30), allowed: to(1, 30), segments: ['core', 'vendorsDisclosed', 'vendorsAllowed', 'publisherTC'] }),
  tcf('random_a', { consents: sample(11, 0.5), interests: sample(10, 0.5).map((id) => id + 1), special: sample(2, 0.5), vendors: sample(1300, 0.3), vendorInterests: sample(1300, 0.1), disclosed: to(1, 1300) }),
  tcf('random_b', { consents: sample(11, 0.8), interests: sample(10, 0.3).map((id) => id + 1), vendors: sample(1300, 0.9), vendorInterests: sample(1300, 0.05), disclosed: sample(1300, 0.95), own: sample(11, 0.5) }),
];

function gpp(name, sections) {
  const model = new GppModel();
  for (const [section, fields] of sections) {
    for (const [field, value] of Object.entries(fields)) model.setFieldValue(section, field, value);
  }
  return { name, kind: 'gpp', text: model.encode() };
}

const nothing = { SaleOptOutNotice: 1, TargetedAdvertisingOptOutNotice: 1, SaleOptOut: 2, TargetedAdvertisingOptOut: 2, MspaCoveredTransaction: 2 };
const national = (o = {}) => ['usnat', { ...nothing, SharingNotice: 1, SharingOptOutNotice: 1, SharingOptOut: 2, ...o }];
const california = (o = {}) => ['usca', { SaleOptOutNotice: 1, SharingOptOutNotice: 1, SaleOptOut: 2, SharingOptOut: 2, MspaCoveredTransaction: 2, ...o }];
const day = new Date('2026-03-02T00:00:00Z');
const eu = ['tcfeuv2', { CmpId: 300, CmpVersion: 7, ConsentScreen: 1, ConsentLanguage: 'EN', VendorListVersion: 145, PolicyVersion: 5, IsServiceSpecific: true, PublisherCountryCode: 'DE', PurposeConsents: ALL.map((id) => [1, 2, 3, 4, 7].includes(id)), VendorConsents: [10, 755, 793], VendorsDisclosed: [10, 755, 793], PublisherConsents: ALL.map((id) => id < 8), Created: day, LastUpdated: day }];
const canada = (o = {}) => ['tcfcav1', { CmpId: 300, CmpVersion: 7, ConsentScreen: 1, ConsentLanguage: 'FR', VendorListVersion: 30, TcfPolicyVersion: 2, PurposesExpressConsent: [true, true, true, true], PubPurposesExpressConsent: [true, true, true, true], VendorExpressConsent: [2, 6, 8], Created: day, LastUpdated: day, ...o }];
const STATES = ['usva', 'usco', 'usut', 'usct', 'usfl', 'usmt', 'usor', 'ustx', 'usde', 'usia', 'usne', 'usnh', 'usnj', 'ustn', 'usmn', 'usmd', 'usin', 'usky', 'usri'];

const platform = [
  gpp('no_section', []),
  gpp('usnat_no_objection', [national()]),
  gpp('usnat_version_1', [national({ Version: 1 })]),
  gpp('usnat_version_1_sale', [national({ Version: 1, SaleOptOut: 1 })]),
  gpp('usnat_sale', [national({ SaleOptOut: 1 })]),
  gpp('usnat_sharing', [national({ SharingOptOut: 1 })]),
  gpp('usnat_targeting', [national({ TargetedAdvertisingOptOut: 1 })]),
  gpp('usnat_gpc', [national({ GpcSegmentIncluded: true, Gpc: true })]),
  gpp('usnat_gpc_segment_left_out', [national({ GpcSegmentIncluded: false })]),
  gpp('usnat_child', [national({ KnownChildSensitiveDataConsents: [0, 1, 0] })]),
  gpp('usnat_no_other_use', [national({ PersonalDataConsents: 1 })]),
  gpp('usnat_service_provider', [national({ MspaCoveredTransaction: 1, MspaOptOutOptionMode: 2, MspaServiceProviderMode: 1 })]),
  gpp('usca_no_objection', [california()]),
  gpp('usca_sale', [california({ SaleOptOut: 1, SharingOptOut: 1 })]),
  gpp('usca_gpc', [california({ Gpc: true })]),
  ...STATES.map((name) => gpp(`${name}_targeting`, [[name, { ...nothing, TargetedAdvertisingOptOut: 1 }]])),
  ...STATES.map((name) => gpp(`${name}_no_objection`, [[name, nothing]])),
  gpp('uspv1_objection', [['uspv1', { Version: 1, Notice: 'Y', OptOutSale: 'Y', LspaCovered: 'N' }]]),
  gpp('uspv1_no_objection', [['uspv1', { Version: 1, Notice: 'Y', OptOutSale: 'N', LspaCovered: 'N' }]]),
  gpp('tcfeuv2', [eu]),
  gpp('tcfcav1', [canada()]),
  gpp('tcfcav1_many_vendors', [canada({ VendorExpressConsent: to(3, 900), VendorImpliedConsent: [1, 5, 700], DisclosedVendors: to(1, 1000) })]),
  gpp('tcfeuv2_usnat', [eu, national({ SaleOptOut: 1 })]),
  gpp('five_sections', [eu, canada(), ['uspv1', { Version: 1, Notice: 'Y', OptOutSale: 'N', LspaCovered: 'N' }], national(), california()]),
  gpp('six_states', ['usva', 'usco', 'usct', 'ustx', 'usor', 'usnj'].map((name) => [name, nothing])),
];

const good = european[1].text;
const sale = platform.find(({ name }) => name === 'usnat_sale').text;
const invalid = [
  ['empty', ''], ['blank', '   '], ['garbage', 'not-a-tc-string!!'], ['version_1', 'BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA'],
  ['version_3', `D${good.slice(1)}`], ['cut_core', good.slice(0, 20)], ['cut_ranges', good.split('.')[0].slice(0, 40)],
  ['bad_character', good.replace(/.$/, '*')], ['dots', '...'], ['gpp_for_tcf', `DBABMA~${good}`], ['only_zeros', `C${'A'.repeat(2000)}`],
  ['json', '{"gdpr":1}'], ['null', 'null'], ['macro', '${GDPR_CONSENT_755}'], ['plain_base64', good.replace(/-/g, '+').replace(/_/g, '/')],
].map(([name, text]) => ({ name, kind: 'tcf', text })).concat([
  ['garbage', 'hello'], ['other_type', 'CBABMA~CBABMA'], ['section_missing', sale.split('~')[0]], ['section_too_many', `${sale}~BVVV`],
  ['cut_section', sale.slice(0, -6)], ['macro', '${GPP_STRING_755}'], ['escaped', sale.replace('~', '%7E')],
].map(([name, text]) => ({ name, kind: 'gpp', text })));

const judged = (vector) => ({ ...vector, said: judge(vector.kind, vector.text) });
for (const { name, said } of invalid.map(judged)) if (said !== null) throw new Error(`the oracle accepts ${name}`);
const valid = [...european, ...platform].map(judged);
for (const { name, said } of valid) if (said === null) throw new Error(`the oracle refuses ${name}`);
const rows = (list) => list.map((vector) => JSON.stringify(vector)).join(',\n');
console.log(`{"valid":[\n${rows(valid)}\n],\n"invalid":[\n${rows(invalid)}\n]}`);
