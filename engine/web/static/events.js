// Tells of impressions and viewable impressions of whatever carries their addresses, as a decision answered them:
//
//   <div data-tactful-impression="…" data-tactful-viewable="…">the creative</div>
//
// An impression is told when its element stands in the page. Viewable is the MRC's definition (not accredited): half
// of the pixels, of 242,500 pixels and more 30 %, in view for one continuous second of a visible tab, looked at each
// 100 ms. What a style hides (visibility, opacity: 0, content-visibility) is not in view; what lies over it, or makes
// it all but transparent, no page is told of. Nothing is stored or read on the device, and each address is told once.
(() => {
  'use strict';
  const LARGE = 242500;
  const LOOK_MS = 100;
  const LOOKS = 10;
  const HIDDEN_BY = { opacityProperty: true, visibilityProperty: true };
  const SELECTOR = '[data-tactful-impression], [data-tactful-viewable]';
  const inView = new Map(); // element → timer

  const tell = (url) => {
    if (url && !(navigator.sendBeacon && navigator.sendBeacon(url))) new Image().src = url;
  };

  const take = (element, name) => {
    const url = element.dataset[name];
    delete element.dataset[name];
    return url;
  };

  const areaOf = ({ width, height }) => width * height;

  const isSeen = (element) =>
    document.visibilityState === 'visible' &&
    element.checkVisibility?.(HIDDEN_BY) !== false &&
    areaOf(element.getBoundingClientRect()) > 0; // of nothing, all is in view

  const start = (element) => {
    let looks = 0; // at which it was seen, one after another
    const look = () => {
      looks = isSeen(element) ? looks + 1 : 0;
      if (looks < LOOKS) return;
      stop(element);
      observer.unobserve(element);
      tell(take(element, 'tactfulViewable'));
    };
    inView.set(element, setInterval(look, LOOK_MS));
  };

  const stop = (element) => {
    clearInterval(inView.get(element));
    inView.delete(element);
  };

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const enough = entry.intersectionRatio >= (areaOf(entry.boundingClientRect) >= LARGE ? 0.3 : 0.5);
      if (enough && !inView.has(entry.target)) start(entry.target);
      if (!enough) stop(entry.target);
    }
  }, { threshold: [0, 0.3, 0.5] });

  const watch = (element) => {
    tell(take(element, 'tactfulImpression'));
    if (element.dataset.tactfulViewable) observer.observe(element);
  };

  const look = () => document.querySelectorAll(SELECTOR).forEach(watch);
  const begin = () => {
    new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });
    look();
  };
  // A page that is made ready before its reader comes, and may never come, shows nothing yet.
  if (document.prerendering) document.addEventListener('prerenderingchange', begin, { once: true });
  else begin();
})();
