// Resolves when the page's pending tasks have run without changing the DOM, or once it has not changed for `quiet` ms, or
// after `cap` ms.
function (quiet, cap) {
  return new Promise((resolve) => {
    const began = performance.now();
    let changed = 0;
    let last = 0;
    const observer = new MutationObserver(() => {
      changed += 1;
      last = performance.now();
    });
    observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    const done = () => {
      observer.disconnect();
      resolve(changed);
    };
    const check = () => {
      const now = performance.now();
      if (changed === 0 || now - last >= quiet || now - began >= cap) done();
      else setTimeout(check, Math.max(1, quiet - (now - last)));
    };
    // Two turns: timers due now run in the first, what they post in the second.
    setTimeout(() => setTimeout(check, 0), 0);
  });
}
