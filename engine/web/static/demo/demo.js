// Updates the placements in place when the moment changes. Without this file the form submits and the server answers.
"use strict";

(() => {
  const page = document.getElementById("page");
  const form = document.getElementById("moment");
  if (!page || !form || !window.fetch) return;
  const said = document.getElementById("said");
  const blank = document.getElementById("blank-unit");
  const placements = JSON.parse(page.dataset.placements);
  const facets = JSON.parse(page.dataset.facets);
  let latest = 0;

  const chosen = (name) => form.elements[name].value;

  function time() {
    const day = form.elements.day.selectedOptions[0].dataset;
    if (!chosen("day") && !chosen("hour")) return undefined;
    const hour = (chosen("hour") || form.dataset.hour).padStart(2, "0");
    return { timezone: form.dataset.timezone, at: `${day.date}T${hour}:00:00${day.offset}` };
  }

  function weather() {
    const told = {};
    if (chosen("weather")) told.condition = chosen("weather");
    if (chosen("temp")) told.temperature_c = Number(chosen("temp"));
    return Object.keys(told).length ? told : undefined;
  }

  function body() {
    const device = chosen("device");
    const about = page.dataset;
    return {
      publisher: about.publisher,
      placements: placements[(device || about.arrived) === "phone" ? "phone" : "other"],
      page: { url: about.url, title: about.title, description: about.description, text: about.text },
      device: device ? { class: device } : undefined,
      time: time(),
      place: { country: chosen("country") },
      weather: weather(),
      explain: true,
      ...window.say.told(),
    };
  }

  function element(tag, text, kind) {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function unit(filled, used) {
    const node = blank.content.cloneNode(true);
    const find = (selector) => node.querySelector(selector);
    const creative = filled.creative;
    const assets = creative.assets;
    const link = find(".ad-link");
    find(".ad").classList.add(`ad-${creative.format}`);
    find(".ad-who").textContent = assets.sponsored_by || creative.landing_domain;
    link.href = filled.click_url;
    if (assets.image) {
      const [w, h] = creative.size || [assets.image.w, assets.image.h];
      Object.assign(find("img"), { src: assets.image.url, alt: assets.image.alt, width: w, height: h });
    } else {
      find("img").remove();
    }
    if (creative.format === "native") {
      find(".ad-headline").textContent = assets.headline || "";
      find(".ad-body").textContent = assets.body || "";
      find(".ad-cta").textContent = assets.cta || "";
      if (assets.offer) find(".ad-offer").textContent = assets.offer;
      else find(".ad-offer").remove();
    } else {
      find(".ad-words").remove();
    }
    const html = find(".ad-html");
    if (creative.format === "banner" && !assets.image) {
      link.remove();
      html.classList.add(`size-${creative.size.join("x")}`);
      html.innerHTML = creative.html; // cleaned by allow-list when it came in
    } else {
      html.remove();
    }
    explain(find, filled, assets.sponsored_by);
    if (used.length) {
      const row = element("div");
      const because = `you let in ${used.join(", ")}: it says who may run here, and adds nothing to the match`;
      row.append(element("dt", facets.consent), element("dd", because));
      find("dl").append(row);
      const key = element("span", "", "key");
      key.append(element("span", "", "dot facet-consent"), facets.consent);
      find(".why-sum").append(key);
    }
    return node;
  }

  function explain(find, filled, who) {
    const reasons = filled.reasons || [];
    const whole = reasons.reduce((sum, reason) => sum + Math.max(reason.share, 0), 0) || 1;
    let x = 0;
    for (const reason of reasons) {
      const label = facets[reason.facet] || reason.facet;
      const width = (100 * Math.max(reason.share, 0)) / whole;
      const percent = `${Math.round(width)} %`;
      const key = element("span", "", "key");
      key.append(element("span", "", `dot facet-${reason.facet}`), `${label} ${percent}`);
      find(".why-sum").append(key);
      const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [name, value] of Object.entries({ class: `facet-${reason.facet}`, x, y: 0, width, height: 6 })) {
        rect.setAttribute(name, value);
      }
      find(".bar").append(rect);
      x += width;
      const row = element("div");
      const term = element("dt", `${label} `);
      term.append(element("span", percent));
      row.append(term, element("dd", reason.because));
      find("dl").append(row);
    }
    if (filled.message) find("dl").append(message(filled));
    find("summary .sr").textContent = `for ${who}`;
    find(".why-score").append(`Match ${filled.score.toFixed(3)} of 1 · `, element("code", filled.creative.id));
  }

  function message(filled) {
    const told = filled.message;
    const row = element("div");
    const term = element("dt", "Message ");
    term.append(element("span", `1 of ${told.of}`));
    const words = element("dd");
    const by = told.policy === "prior" ? "the prior" : `model ${told.policy}`;
    const parts = element("ul", "", "parts");
    parts.append(...told.because.map((said) => element("li", said)));
    const names = told.names.join(" and ") || "nothing of the moment";
    words.append(
      `put together and drawn with a chance of ${(100 * filled.propensity).toFixed(1)} %, by ${by}.`,
      parts,
      `Its copy names ${names}: ${told.specificity_bits.toFixed(1)} of ${told.budget_bits.toFixed(0)} bits.`,
    );
    row.append(term, words);
    return row;
  }

  function show(answer) {
    for (const place of document.querySelectorAll("[data-place]")) {
      const open = place.querySelector("details")?.open ?? false;
      const filled = answer.decisions.filter((one) => one.placement === place.dataset.place);
      const units = filled.map((one) => unit(one, answer.privacy.signals_used));
      if (!units.length) units.push(element("p", "Nothing fits here well enough: the place stays empty.", "unfilled"));
      place.replaceChildren(...units);
      for (const details of place.querySelectorAll("details")) details.open = open;
    }
    const missing = document.getElementById("missing");
    if (missing) missing.textContent = answer.missing.join(", ") || "nothing";
    const signals = document.getElementById("signals");
    if (signals) signals.textContent = answer.privacy.signals_used.join(", ") || "none";
    window.say.heard(answer.privacy);
  }

  function keep() {
    const query = new URLSearchParams([...new FormData(form)].filter(([name, value]) => value && `${name}=${value}` !== "country=GB"));
    const search = query.size ? `?${query}` : "";
    history.replaceState(null, "", location.pathname + search);
    for (const link of document.querySelectorAll(".masthead a, .card a[href*='/articles/'], .more a")) link.search = search;
  }

  async function update() {
    const turn = ++latest;
    keep();
    try {
      const started = performance.now();
      const response = await fetch(page.dataset.api, {
        method: "POST",
        credentials: "omit",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body()),
      });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const answer = await response.json();
      if (turn !== latest) return;
      show(answer);
      said.textContent = `Decided anew in ${Math.max(1, Math.round(performance.now() - started))} ms, there and back.`;
    } catch (error) {
      if (turn === latest) said.textContent = `The service did not answer (${error.message}). What you see is from before.`;
    }
  }

  form.addEventListener("change", update);
  document.addEventListener("say", update);
  if (window.say.told().consent) update(); // the server drew the page without it
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    update();
  });
  for (const link of form.querySelectorAll("[data-preset]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const query = new URL(link.href).searchParams;
      for (const name of ["device", "day", "hour", "weather", "temp"]) form.elements[name].value = query.get(name) || "";
      form.elements.country.value = query.get("country") || "GB";
      update();
    });
  }
})();
