// Small charts of the last hour, in SVG of our own; the axis is text beside it, so that it never stretches.

import { h } from './dom.js';
import { bytes, clock, count, duration, figure, none } from './format.js';

/** Names as at `/v1/history`; `step` is how the axis divides. */
export const series = [
  { name: 'messagesPerSecond', title: 'Received', unit: (v) => `${figure(v)} /s`, what: 'messages a second' },
  { name: 'deliveredPerSecond', title: 'Delivered', unit: (v) => `${figure(v)} /s`, what: 'readings a second' },
  { name: 'freshnessSeconds', title: 'Freshness', unit: duration, what: 'age of what waits to be delivered', step: 60 },
  { name: 'backlog', title: 'Backlog', unit: count, what: 'messages not read yet', whole: true },
  { name: 'outboxReadings', title: 'Outbox', unit: count, what: 'readings not delivered yet', whole: true },
  { name: 'sentBytesPerSecond', title: 'Sent', unit: (v) => `${bytes(v)}/s`, what: 'bytes sent upstream', step: 1024 },
];

/** The hour of every chart, whatever part of it is known: figures by series, the newest last. */
export function lastHour({ step, end, count: known, series: figures }) {
  const points = Math.round(3600 / step);
  const hour = (values) => [...Array(Math.max(0, points - values.length)).fill(null), ...values.slice(-points)];
  return {
    points,
    stepSeconds: step,
    to: end,
    isEmpty: !known,
    series: Object.fromEntries(Object.entries(figures).map(([name, values]) => [name, hour(values)])),
  };
}

const height = 100;

/** The end of an axis: a round figure of at least `value`. */
export function ceiling(value, { step = 10, whole } = {}) {
  if (!(value > 0)) return 1;
  const base = step === 10 ? 1 : step ** Math.floor(Math.max(0, Math.log(value) / Math.log(step)));
  const rest = value / base;
  const power = 10 ** Math.floor(Math.log10(rest));
  const factors = step === 60 && rest > 10 ? [1, 1.5, 2, 3, 4, 6, 10] : [1, 1.5, 2, 3, 4, 5, 6, 8, 10];
  const end = factors.map((factor) => factor * power * base).find((candidate) => candidate >= value * 0.999);
  return whole ? Math.ceil(end ?? value) : (end ?? value);
}

// One path per stretch without a gap; a stretch of one point becomes a short line.
function stretches(values) {
  const found = [];
  values.forEach((value, index) => {
    if (value == null) return;
    const last = found[found.length - 1];
    if (last && last.end === index - 1) {
      last.points.push(value);
      last.end = index;
    } else found.push({ start: index, end: index, points: [value] });
  });
  return found;
}

function lines(values, top) {
  const y = (value) => (height - (Math.min(value, top) / top) * height).toFixed(1);
  return stretches(values).map(({ start, end, points }) => {
    const line = points.map((value, index) => `${start + index},${y(value)}`).join('L');
    const whole = start === end ? `${line}h1` : line;
    return { line: `M${whole}`, area: `M${start},${height}L${whole}V${height}z` };
  });
}

/** When each point was, by the clock of the browser; the newest is last. */
export const times = (history) => {
  const end = history.to ? Date.parse(history.to) : Date.now();
  const size = history.points;
  return (index) => new Date(end - (size - 1 - index) * history.stepSeconds * 1000);
};

/**
 * @param pointer `{ index, move(index) }`: the step that a person points at, the same in all charts.
 * @param now the figure of this moment, where it is known better than by the last step.
 */
export function chart(kind, history, pointer, now) {
  const values = history.series[kind.name] || [];
  const size = history.points;
  const present = values.filter((value) => value != null);
  const peak = present.length ? Math.max(...present) : 0;
  const top = ceiling(peak, kind);
  const at = pointer.index;
  const words = (value) => (value == null ? none : kind.unit(value));
  const shown = at == null ? (now ?? values[size - 1]) : values[at];
  const when = times(history);
  const mean = present.length ? present.reduce((total, value) => total + value, 0) / present.length : null;
  const summary = present.length
    ? `${kind.title}, ${kind.what}, in the last hour: now ${words(now ?? values[size - 1])}, ` +
      `least ${kind.unit(Math.min(...present))}, mean ${kind.unit(mean)}, most ${kind.unit(peak)}`
    : `${kind.title}: nothing known of the last hour yet`;
  const track = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    pointer.move(Math.max(0, Math.min(size - 1, Math.round(share * (size - 1)))));
  };
  return h(
    'figure',
    { class: 'chart card', key: kind.name },
    h(
      'figcaption',
      null,
      h('span', { class: 'name' }, kind.title),
      h('span', { class: 'now' }, words(shown)),
      h('span', { class: 'what' }, at == null ? kind.what : `at ${clock(when(at))}`),
    ),
    h(
      'div',
      { class: 'plot', on: { pointermove: track, pointerleave: () => pointer.move(null) } },
      h(
        'svg',
        { viewBox: `0 0 ${size - 1} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': summary },
        h('path', { class: 'grid', d: `M0,0H${size}M0,${height / 2}H${size}M0,${height}H${size}` }),
        lines(values, top).flatMap(({ line, area }) => [
          h('path', { class: 'area', d: area }),
          h('path', { class: 'line', d: line }),
        ]),
        at != null && h('path', { class: 'hair', d: `M${at},0V${height}` }),
      ),
      present.length > 0 && h('span', { class: 'top', 'aria-hidden': 'true' }, kind.unit(top)),
    ),
    h(
      'div',
      { class: 'axis', 'aria-hidden': 'true' },
      [0, (size - 1) / 2, size - 1].map((index) => h('span', null, clock(when(Math.round(index))))),
    ),
  );
}

/** Every chart as one table, a row for every five minutes. */
export function historyRows(history) {
  const when = times(history);
  const every = Math.max(1, Math.round(300 / history.stepSeconds));
  const rows = [];
  for (let index = history.points - 1; index >= 0; index -= every) {
    const cells = series.map((kind) => {
      const value = history.series[kind.name]?.[index];
      return value == null ? none : kind.unit(value);
    });
    if (cells.some((cell) => cell !== none)) rows.push({ key: index, time: clock(when(index)), cells });
  }
  return rows;
}

/**
 * A batch from its receipt to its delivery: a bar for each step on one axis of time.
 * @param steps `[{ name, start, end, tone, note }]` in seconds since the first began.
 */
export function waterfall(steps) {
  const end = Math.max(...steps.map((step) => step.end), 0.001);
  return h(
    'div',
    { class: 'waterfall', role: 'list' },
    steps.map((step, index) =>
      h(
        'div',
        { role: 'listitem', key: index },
        h('span', { class: 'name' }, step.name),
        h(
          'svg',
          { viewBox: '0 0 1000 20', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
          h('path', { class: 'grid', d: 'M0,10H1000' }),
          h('rect', {
            class: `step ${step.tone}`,
            x: Math.min(996, (step.start / end) * 1000).toFixed(1),
            y: 3,
            width: Math.max(4, ((step.end - step.start) / end) * 1000).toFixed(1),
            height: 14,
            rx: 2,
          }),
        ),
        h(
          'span',
          { class: 'took' },
          duration(step.end - step.start),
          step.note && h('small', null, ` ${step.note}`),
          h('span', { class: 'hidden' }, `, begun after ${duration(step.start)}`),
        ),
      ),
    ),
    h('div', { class: 'axis', 'aria-hidden': 'true' }, h('span', null, '0 s'), h('span', null, duration(end))),
  );
}

/** The shape of a histogram: a bar for every bucket that is in use. */
export function shape({ buckets, count: total }) {
  if (!total) return none;
  const first = buckets.findIndex((bucket) => bucket.count > 0);
  const last = buckets.findLastIndex((bucket) => bucket.count > 0);
  const used = buckets.slice(first, last + 1);
  const most = Math.max(...used.map((bucket) => bucket.count));
  const edge = (le) => (le === Infinity ? 'more' : duration(le));
  const label = used
    .filter((bucket) => bucket.count)
    .map((bucket) => `up to ${edge(bucket.le)}: ${count(bucket.count)}`)
    .join(', ');
  return h(
    'span',
    { class: 'shape-of' },
    h(
      'svg',
      { viewBox: `0 0 ${used.length * 8} 20`, role: 'img', 'aria-label': label },
      used.map((bucket, index) => {
        const size = Math.max(1, (bucket.count / most) * 20);
        return h('rect', { class: 'block', x: index * 8 + 1, y: (20 - size).toFixed(1), width: 6, height: size.toFixed(1) });
      }),
    ),
    h('small', null, `to ${edge(used[used.length - 1].le)}`),
  );
}
