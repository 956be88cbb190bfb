// Starts an episode in a MiniWoB++ page and gives its goal. The display for humans (goal, timer, last reward, click marks and
// the START cover) is in the page only while the page's own functions run, since those write into it.
async (seed, limit) => {
  const loaded = () => typeof core !== 'undefined' && document.readyState === 'complete' && core.cover_div;
  const until = async (ready, what) => {
    const began = performance.now();
    while (!ready()) {
      if (performance.now() - began > 15000) throw new Error(`${what} within 15 s`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  if (!loaded()) await until(loaded, 'the page did not load');
  if (!core.envfarm) {
    const query = document.getElementById('query');
    const human = ['reward-display', 'click-canvas', 'sync-task-cover'];
    let goal = null;
    let taken = [];
    const hide = () => {
      core.clearTimer();
      document.body.removeEventListener('click', core.canvasDrawClick);
      goal = query.innerHTML;
      query.innerHTML = '';
      taken = human.map((id) => document.getElementById(id)).filter((element) => element);
      for (const element of taken) element.remove();
    };
    const show = () => {
      query.innerHTML = goal;
      for (const element of taken) document.body.appendChild(element);
      core.createDisplay();
    };
    const withDisplay = (own) => (...values) => {
      show();
      try {
        return own.apply(core, values);
      } finally {
        hide();
      }
    };
    for (const name of ['getUtterance', 'endEpisode', 'startEpisodeReal']) core[name] = withDisplay(core[name]);
    hide();
    core.envfarm = true;
  } else {
    // A restart in place: what the last agent left in the document that the task does not set itself.
    if (document.activeElement) document.activeElement.blur();
    getSelection().removeAllRanges();
    scrollTo(0, 0);
  }
  Math.seedrandom(seed);
  core.EPISODE_MAX_TIME = limit;
  core.startEpisodeReal();
  if (!WOB_TASK_READY) await until(() => WOB_TASK_READY, 'the task did not become ready');
  const utterance = core.getUtterance();
  return { goal: typeof utterance === 'string' ? utterance : utterance.utterance };
}
