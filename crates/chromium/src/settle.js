// Resolves when the page's pending tasks have run without changing the DOM, or once it has not changed for `quiet` ms, or
// after `cap` ms. If `patient`, it must not change for `quiet` ms in any case.
function (quiet, cap, patient) {
  return new Promise((resolve) => {
    const began = performance.now();
    let last = patient ? began : -Infinity;
    const observer = new MutationObserver(() => {
      last = performance.now();
    });
    observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    const done = () => {
      observer.disconnect();
      resolve();
    };
    const check = () => {
      const now = performance.now();
      if (now - last >= quiet || now - began >= cap) done();
      else setTimeout(check, Math.max(1, quiet - (now - last)));
    };
    // Two turns: timers due now run in the first, what they post in the second.
    setTimeout(() => setTimeout(check, 0), 0);
  });
}
