// The switch by which a reader lets one interest in. Without consent nothing is kept here and nothing is sent.
// It runs where it stands, before what comes below is laid out, so that nothing of that shifts.
"use strict";

window.say = (() => {
  const KEY = "weathervane-consent";
  const section = document.getElementById("say");
  if (!section || !window.fetch) return { told: () => ({}), heard: () => {} };
  const find = (id) => document.getElementById(id);
  const [button, interest, rights, agreed, shown] = ["agree", "interest", "say-rights", "agreed", "record-text"].map(find);
  const { service, publisher } = section.dataset;

  // Kept in this tab alone, as the notice says, and only after the reader agreed to it. Where the browser keeps nothing
  // at all, it lasts as long as the page.
  let kept = null;
  let busy = false;
  try {
    kept = JSON.parse(sessionStorage.getItem(KEY));
  } catch {}

  function keep(now) {
    kept = now;
    try {
      if (kept) sessionStorage.setItem(KEY, JSON.stringify(kept));
      else sessionStorage.removeItem(KEY);
    } catch {}
    draw();
  }

  function draw() {
    find("say-act").hidden = false;
    button.setAttribute("aria-checked", String(Boolean(kept?.token)));
    rights.hidden = !kept;
    if (!kept) shown.hidden = true;
    if (kept) interest.value = kept.interest;
  }

  async function ask(path, options, expected) {
    const response = await fetch(path, options);
    if (response.status !== expected) throw Object.assign(new Error(`status ${response.status}`), { status: response.status });
    return response;
  }

  const post = (path, body, expected = 200) =>
    ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }, expected);

  async function agree() {
    const given = await (await ask(section.dataset.agree, { method: "POST" }, 201)).json();
    keep({ ...given, interest: interest.value });
  }

  async function withdraw() {
    await post(`${service}v1/consents/withdraw`, { publisher, rights_token: kept.rights_token });
    // The rights token goes on showing and erasing; the consent token is of no use any more.
    keep({ rights_token: kept.rights_token, interest: kept.interest });
    agreed.textContent = "Withdrawn: from now on nothing of you is used, in every process of the service.";
  }

  async function record() {
    const headers = { Authorization: `Bearer ${kept.rights_token}` };
    const told = await (await ask(`${service}v1/subject/export`, { headers }, 200)).json();
    shown.textContent = JSON.stringify(told, null, 1);
    shown.hidden = false;
    shown.focus();
  }

  async function erase() {
    await post(`${service}v1/subject/erase`, { publisher, rights_token: kept.rights_token });
    keep(null);
    agreed.textContent = "Erased: rows, key and this tab's copy are gone. The log says that an erasure happened, not whose.";
    button.focus();
  }

  const changed = () => document.dispatchEvent(new Event("say"));

  function act(what) {
    return async () => {
      if (busy) return;
      busy = true;
      try {
        await what();
      } catch (error) {
        if (kept && [403, 404].includes(error.status)) {
          keep(null); // the rights token opens nothing any more
          agreed.textContent = "Nothing is recorded any more: it was erased before, perhaps in another tab.";
          button.focus();
          changed();
        } else {
          agreed.textContent = `The service did not do it (${error.message}). Nothing was changed.`;
        }
      } finally {
        busy = false;
      }
    };
  }

  button.addEventListener("click", act(async () => {
    await (kept?.token ? withdraw() : agree());
    changed();
  }));
  find("record").addEventListener("click", act(record));
  find("erase").addEventListener("click", act(async () => {
    await erase();
    changed();
  }));
  interest.addEventListener("change", () => {
    if (!kept) return;
    keep({ ...kept, interest: interest.value });
    if (kept.token) changed();
  });
  draw();
  // On a phone it would push the article further off the screen.
  if (!kept && matchMedia("(max-width: 40rem)").matches) section.querySelector("details").open = false;

  function nonce() {
    return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  return {
    // What goes along with a request for a decision.
    told() {
      if (!kept?.token) return {};
      return { consent: { token: kept.token, nonce: nonce() }, signals: { cohorts: [kept.interest], held: "device" } };
    },
    // What became of it.
    heard({ signals_used: used, gpc }) {
      if (!kept?.token) return;
      if (used.length) agreed.textContent = `Used, under your consent: ${used.join(", ")}.`;
      else if (gpc) agreed.textContent = "Not used: your browser sends Global Privacy Control, and that counts for more.";
      else agreed.textContent = "Not used: the page is too sensitive, the token is an hour old, or too few share this interest.";
    },
  };
})();
