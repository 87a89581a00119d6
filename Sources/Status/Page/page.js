// The page: which view is shown, what it needs, and how often that is fetched.

import { getJSON, getText, listen, parseMetrics, token } from './api.js';
import { lastHour } from './charts.js';
import { ask } from './dialog.js';
import { h, patch } from './dom.js';
import { count, counted, duration } from './format.js';
import { button } from './parts.js';
import * as overview from './overview.js';
import * as oncall from './oncall.js';
import * as debug from './debug.js';

const views = {
  overview: { title: 'Overview', ...overview },
  'on-call': { title: 'On call', ...oncall },
  debug: { title: 'Debug', ...debug },
};

/** Seconds between two looks at the gateway while the page is visible. */
const every = 5;

const element = (id) => document.getElementById(id);

const store = {
  /** By name, `{ value, failure, before }`: what was fetched last, and why it could not be fetched. */
  items: {},
  /** What a person has opened on the view, by key, likewise. */
  opened: new Map(),
  choice: {},
  pointer: {
    index: null,
    move(index) {
      if (index === store.pointer.index) return;
      store.pointer.index = index;
      render();
    },
  },
  /** Milliseconds by the gateway's clock: ages are of its times, whatever the clock of the browser says. */
  now: () => Date.now() + skew,
  render: () => render(),
  refresh: () => look(),
  ask: (question) => ask(question, (text) => (tell(text), look())),
  tell: (text) => tell(text),
  async open(key, fetching) {
    const item = {};
    store.opened.set(key, item);
    render();
    await fetched(item, fetching);
    render();
  },
};

let skew = 0;
let notice = null;
let lastAnswer = 0;

const current = () => {
  const name = location.hash.replace(/^#\/?/, '');
  return views[name] ? name : 'overview';
};

// MARK: Fetching

const sources = {
  status: () => getJSON('v1/status'),
  report: () => getJSON('v1/report'),
  history: async () => lastHour(await getJSON('v1/history')),
  counts: async () => (await getJSON('v1/dead-letters/counts')).counts,
  replays: async () => (await getJSON('v1/replays')).replays,
  async traces() {
    const traces = await getJSON('v1/traces');
    return traces.traces || traces;
  },
  async metrics() {
    const figures = parseMetrics(await getText('metrics'));
    figures.at = performance.now();
    return figures;
  },
  async devices() {
    const known = (store.items.report?.value || (await getJSON('v1/report'))).pipelines.map((pipeline) => pipeline.name);
    const name = known.includes(store.choice.pipeline) ? store.choice.pipeline : known[0];
    if (!name) return { devices: [] };
    return getJSON(`v1/pipelines/${encodeURIComponent(name)}/devices?limit=100`);
  },
};

async function fetched(item, fetching) {
  try {
    const value = await fetching();
    item.before = item.value;
    item.value = value;
    item.failure = null;
  } catch (failure) {
    item.failure = failure;
  }
}

let timer = null;
let looking = 0;

/** Fetches what the view needs, and comes back in a while; a new look takes the place of the one before. */
async function look() {
  clearTimeout(timer);
  const mine = ++looking;
  const before = store.items.status?.value?.state;
  await Promise.all(
    views[current()].needs.map(async (name) => {
      const item = { ...store.items[name] };
      await fetched(item, sources[name]);
      store.items[name] = item;
      if (name === 'status' && item.failure === null) {
        lastAnswer = Date.now();
        const time = Date.parse(item.value.time);
        if (!Number.isNaN(time)) skew = time - Date.now();
      }
      if (mine === looking) render();
    }),
  );
  if (mine !== looking) return;
  announce(before);
  if (document.visibilityState === 'visible') timer = setTimeout(look, every * 1000);
}

document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') {
    look();
    hear();
  } else {
    clearTimeout(timer);
    // A browser keeps few connections to one place, and the gateway few listeners.
    hearing?.abort();
  }
});

// MARK: Hearing

/** Events after which a view shows something else; the look every few seconds is for figures, and where nothing is heard. */
const telling = new Set(['alarm', 'audit', 'replay', 'lost']);

let hearing = null;
let hearAgain = null;
let soon = null;

async function hear() {
  clearTimeout(hearAgain);
  if (hearing) return;
  const mine = new AbortController();
  hearing = mine;
  let pause = every;
  try {
    await listen('v1/events', heard, mine);
  } catch (failure) {
    // So many listen already.
    if (failure.status === 503) pause = 60;
  }
  hearing = null;
  if (document.visibilityState === 'visible') hearAgain = setTimeout(hear, pause * 1000);
}

function heard(name) {
  // The rates of the third view are those between two looks, which are best equally long.
  if (!telling.has(name) || current() === 'debug') return;
  // Those of one moment come together: one look is for all of them, and another for the summary, which the gateway
  // makes anew once a second at most.
  clearTimeout(soon);
  soon = setTimeout(() => {
    look();
    soon = setTimeout(look, 1100);
  }, 100);
}

// MARK: Telling

const say = (text) => {
  element('live').textContent = text;
};

function tell(text) {
  notice = text;
  say(text);
  render();
}

/** A screen reader hears when the state changes, not every figure. */
function announce(before) {
  const status = store.items.status?.value;
  if (!status || before === status.state) return;
  const { page = 0, ticket = 0 } = status.alarms || {};
  say(`${status.gateway} is ${status.state}: ${counted(page, 'page')}, ${counted(ticket, 'ticket')}`);
}

function trouble() {
  const failure = store.items.status?.failure;
  if (!failure) return null;
  const old = lastAnswer ? ` What is shown is ${duration((Date.now() - lastAnswer) / 1000)} old.` : '';
  const [title, text] =
    {
      0: ['The gateway does not answer', `${failure.message}. It is tried again every ${every} s.${old}`],
      401: ['A token is needed', token.value ? 'the gateway does not know this one.' : 'this gateway shows itself to nobody without.'],
      403: ['This token may not see it', `${failure.message}.`],
      429: ['Too many requests', `the gateway asks for patience. It is asked again every ${every} s.${old}`],
    }[failure.status] || ['The gateway cannot say how it is', `${failure.message}.${old}`];
  return h(
    'div',
    { class: 'notice critical', key: 'trouble' },
    h('p', null, h('strong', null, `${title}: `), text),
    failure.status === 401 || failure.status === 403 ? tokenForm() : null,
  );
}

const told = () =>
  h(
    'div',
    { class: 'notice ok' },
    h('p', null, notice),
    button('Close', () => ((notice = null), render()), { class: 'plain' }),
  );

const tokenForm = () =>
  h(
    'form',
    {
      class: 'token',
      on: {
        submit(event) {
          event.preventDefault();
          token.value = event.target.querySelector('input').value.trim();
          look();
        },
      },
    },
    h('label', { for: 'notice-token' }, 'Token'),
    h('input', { id: 'notice-token', type: 'password', autocomplete: 'current-password' }),
    h('button', { class: 'plain' }, 'Keep for this tab'),
  );

// MARK: Showing

let shown = null;

function render() {
  const name = current();
  const status = store.items.status?.value;
  const report = store.items.report?.value;
  patch(element('notice'), [trouble()].filter(Boolean));
  patch(element('told'), notice ? [told()] : []);
  patch(element('gateway'), [
    status ? status.gateway : 'Forebay',
    status?.site ? h('small', null, ` ${status.site}`) : '',
  ]);
  for (const view of Object.keys(views)) {
    const link = element(`to-${view}`);
    if (view === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const alarms = status ? (status.alarms?.page || 0) + (status.alarms?.ticket || 0) : 0;
  patch(element('to-on-call'), [
    'On call',
    alarms > 0 &&
      h('span', { class: `count ${status.state}` }, count(alarms), h('span', { class: 'hidden' }, alarms === 1 ? ' alarm' : ' alarms')),
  ].filter(Boolean));
  document.title = `${status ? `${status.gateway} ${status.state} – ` : ''}${views[name].title} – Forebay`;
  element('main').setAttribute('aria-busy', String(!status && !store.items.status?.failure));
  patch(element('view'), views[name].view(store).flat(Infinity).filter(Boolean));
  patch(element('foot'), [
    h(
      'p',
      null,
      status ? `forebay ${status.software}, running for ${duration(status.uptimeSeconds)}. ` : '',
      status && status.clockSynchronised === false ? 'Its clock is not synchronised. ' : '',
      'The same for programs: ',
      h('a', { href: 'v1/status' }, 'status'),
      ', ',
      h('a', { href: 'metrics' }, 'metrics'),
      ', ',
      h('a', { href: 'openapi.json' }, 'OpenAPI'),
    ),
  ]);
  age();
}

function age() {
  if (!lastAnswer) return;
  const seconds = Math.round((Date.now() - lastAnswer) / 1000);
  const isLive = seconds < every + 3 && !store.items.status?.failure;
  element('age').textContent = isLive ? 'live' : `${duration(seconds)} old`;
  element('age').className = isLive ? 'age' : 'age old';
}

function route() {
  const name = current();
  if (shown === name) return;
  const isFirst = shown === null;
  shown = name;
  store.opened.clear();
  render();
  if (!isFirst) {
    window.scrollTo(0, 0);
    element('main').querySelector('h1')?.focus();
  }
  look();
}

window.addEventListener('hashchange', route);
document.querySelector('.skip').addEventListener('click', (event) => {
  // The fragment of the address names the view.
  event.preventDefault();
  element('main').focus();
});
setInterval(age, 1000);
route();
hear();
