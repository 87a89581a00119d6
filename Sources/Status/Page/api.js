// Talks to the gateway's API. Paths are relative, so that a proxy may put the page anywhere.

const place = 'forebay-token';
let fleeting = '';

/** The token lives as long as the tab; where the browser keeps nothing, as long as the page. */
export const token = {
  get value() {
    try {
      return sessionStorage.getItem(place) || '';
    } catch {
      return fleeting;
    }
  },
  set value(text) {
    fleeting = text;
    try {
      if (text) sessionStorage.setItem(place, text);
      else sessionStorage.removeItem(place);
    } catch {
      // Kept in memory only.
    }
  },
};

/** Why a request failed: `status` is 0 when there was no answer. */
export class Failure extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function request(path, options = {}) {
  const headers = { Accept: options.accept || 'application/json' };
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  if (options.body !== undefined) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, {
      method: options.method || 'GET',
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal: AbortSignal.timeout(options.patience || 10000),
    });
  } catch (error) {
    throw new Failure(0, error.name === 'TimeoutError' ? 'no answer within 10 s' : 'no connection');
  }
  if (answer.ok) return answer;
  let text = `the answer was ${answer.status}`;
  try {
    const problem = await answer.json();
    text = problem.detail || problem.title || text;
  } catch {
    // An answer of a proxy, perhaps: its status has to do.
  }
  throw new Failure(answer.status, text);
}

export const getJSON = async (path) => (await request(path)).json();
export const getText = async (path) => (await request(path, { accept: 'text/plain' })).text();

/** Milliseconds without a word after which a stream of events is dead: several times its sign of life. */
const silence = 40000;

/**
 * Tells the names of the events under a path as they come, and returns when no more do. An EventSource would do the
 * same, but cannot show a token.
 */
export async function listen(path, heard, ending) {
  const headers = { Accept: 'text/event-stream' };
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  const answer = await fetch(path, {
    headers,
    cache: 'no-store',
    credentials: 'omit',
    redirect: 'error',
    signal: ending.signal,
  });
  if (!answer.ok) throw new Failure(answer.status, `the answer was ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const dead = setTimeout(() => ending.abort(), silence);
    const { value, done } = await reader.read().finally(() => clearTimeout(dead));
    if (done) return;
    const events = (rest + value).split('\n\n');
    rest = events.pop();
    for (const event of events) {
      const name = /^event: (.+)$/m.exec(event);
      if (name) heard(name[1]);
    }
  }
}

/** An operator's action. An estimate reads much of the log, so that it may take its time. */
export async function post(path, body = {}) {
  const answer = await request(path, { method: 'POST', body, patience: 60000 });
  const text = await answer.text();
  return text ? JSON.parse(text) : {};
}

/** The figures of a page of Prometheus text (format 0.0.4) by name: `[{ labels, value }]`. */
export function parseMetrics(text) {
  const figures = new Map();
  for (const line of text.split('\n')) {
    if (!line || line[0] === '#') continue;
    const parts = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line);
    if (!parts) continue;
    const labels = {};
    for (const [, name, value] of (parts[2] || '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, character) => (character === 'n' ? '\n' : character));
    }
    const value = parts[3] === '+Inf' ? Infinity : Number(parts[3]);
    if (!figures.has(parts[1])) figures.set(parts[1], []);
    figures.get(parts[1]).push({ labels, value });
  }
  return figures;
}

/** One histogram over all its labels, or those that fit: buckets `[{ le, count }]`, not cumulative. */
export function histogram(figures, name, fits = () => true) {
  const totals = new Map();
  for (const { labels, value } of figures.get(`${name}_bucket`) || []) {
    if (!fits(labels)) continue;
    const le = labels.le === '+Inf' ? Infinity : Number(labels.le);
    totals.set(le, (totals.get(le) || 0) + value);
  }
  const steps = [...totals].sort((a, b) => a[0] - b[0]);
  const buckets = steps.map(([le, total], index) => ({ le, count: total - (index ? steps[index - 1][1] : 0) }));
  return { buckets, count: steps.length ? steps[steps.length - 1][1] : 0 };
}

/** Cases of a histogram below which its quantiles say more of its buckets than of the cases. */
export const fewest = 20;

/** What no case was longer than: the upper bound of the last bucket in use; or, where that has none, its lower one. */
export function bound({ buckets }) {
  const last = buckets.findLastIndex((bucket) => bucket.count > 0);
  if (last < 0) return { most: null, isOpen: false };
  const isOpen = buckets[last].le === Infinity;
  return { most: isOpen ? (buckets[last - 1]?.le ?? 0) : buckets[last].le, isOpen };
}

/** The quantile by interpolation within its bucket, as Prometheus does; null without observations. */
export function quantile({ buckets, count }, share) {
  if (!count) return null;
  let left = share * count;
  let low = 0;
  for (const bucket of buckets) {
    if (left <= bucket.count && bucket.count) {
      return bucket.le === Infinity ? low : low + ((bucket.le - low) * left) / bucket.count;
    }
    left -= bucket.count;
    low = bucket.le === Infinity ? low : bucket.le;
  }
  return low;
}

export const sum = (figures, name, fits = () => true) =>
  (figures.get(name) || []).reduce((total, { labels, value }) => (fits(labels) ? total + value : total), 0);
