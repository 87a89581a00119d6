// Rates and latencies of every stage, watermarks, the answers of upstreams, one batch from end to end, devices.

import { bound, fewest, histogram, quantile, sum } from './api.js';
import { shape, waterfall } from './charts.js';
import { bytes, count, counted, duration, figure, instant, moment, none, since, visible } from './format.js';
import { bar, chip, facts, loaded, section, skeleton, table, waiting } from './parts.js';
import { h } from './dom.js';

export const needs = ['status', 'report', 'metrics', 'traces', 'devices'];

export function view(store) {
  const { status, report, metrics, traces, devices } = store.items;
  if (status?.value === undefined) return waiting('Debug', status, skeleton(6));
  return [
    h('div', { class: 'title', key: 'title' }, h('h1', { tabindex: '-1' }, 'Debug')),
    section(
      'Stages',
      { aside: h('p', { class: 'quiet' }, 'rates of now; latencies since the daemon started') },
      loaded(metrics, (value) => stages(value, metrics.before), 6),
    ),
    section(
      'Pipelines',
      { key: 'debug-pipelines', aside: h('p', { class: 'quiet' }, 'counts since each pipeline began') },
      loaded(report, pipelines),
    ),
    section('Uplink attempts', null, loaded(report, attempts)),
    section('One batch', { class: 'pairs', aside: chooseTrace(traces?.value, store) }, loaded(traces, (value) => trace(value, store), 4)),
    section('Devices', { aside: choosePipeline(report?.value, store) }, loaded(devices, (value) => deviceTable(value, store))),
    section('Process', { class: 'pairs' }, loaded(report, (value) => machine(value, store))),
  ];
}

// MARK: Stages

function stages(figures, before) {
  const rate = (total) => {
    if (!before) return none;
    const seconds = (figures.at - before.at) / 1000;
    const change = total(figures) - total(before);
    return seconds > 0 && change >= 0 ? change / seconds : none;
  };
  const per = (value, unit) => (value === none ? none : `${figure(value)} ${unit}/s`);
  const of = (name, fits) => (from) => sum(from, name, fits);
  const started = 'since the daemon started';
  const began = 'since the pipelines began';
  const row = (name, what, total, unit, latency, from = started) => {
    const times = latency && histogram(figures, latency);
    return {
      key: name,
      name,
      what,
      rate: per(rate(total), unit),
      total: counted(total(figures), unit === 'batches' ? 'batch' : unit.replace(/s$/, ''), unit),
      from,
      times,
    };
  };
  const decoded = (labels) => labels.outcome === 'decoded';
  const isKnown = ({ times }) => times && times.count >= fewest;
  const quantileCell = (share) => (line) => (isKnown(line) ? duration(quantile(line.times, share)) : none);
  const median = (line) => {
    if (!line.times?.count || isKnown(line)) return quantileCell(0.5)(line);
    const { most, isOpen } = bound(line.times);
    return h('small', null, `${counted(line.times.count, 'case')}, ${isOpen ? 'over' : 'at most'} ${duration(most)}`);
  };
  return table(
    'Stages',
    [
      { title: 'Stage', cell: (line) => [line.name, h('small', null, ` ${line.what}`)] },
      { title: 'Now', number: true, cell: (line) => line.rate },
      { title: 'So far', number: true, cell: (line) => [line.total, h('small', null, ` ${line.from}`)] },
      { title: 'p50', number: true, cell: median },
      { title: 'p95', number: true, cell: quantileCell(0.95) },
      { title: 'p99', number: true, cell: quantileCell(0.99) },
      { title: 'Spread', cell: (line) => (line.times ? shape(line.times) : none) },
    ],
    [
      row('receive', 'from brokers', of('forebay_source_messages_total'), 'messages'),
      row('commit', 'to the log, with fsync', of('forebay_source_groups_total'), 'groups', 'forebay_commit_duration_seconds'),
      row('decode', 'by pipelines', of('forebay_pipeline_messages_total', decoded), 'messages', undefined, began),
      row('seal', 'into the outbox', of('forebay_seal_duration_seconds_count'), 'batches', 'forebay_seal_duration_seconds'),
      row('deliver', 'attempts of uplinks', of('forebay_uplink_attempts_total'), 'attempts', 'forebay_uplink_attempt_duration_seconds'),
      row('end to end', 'receipt to confirmation', of('forebay_end_to_end_seconds_count'), 'batches', 'forebay_end_to_end_seconds'),
    ],
    '',
  );
}

// MARK: Pipelines

function pipelines(report) {
  const rows = report.pipelines.map((row) => ({ key: row.name, ...row }));
  const outcome = (row) =>
    [
      ['unmatched', row.unmatched],
      ['rejected', row.rejected],
      ['damaged', row.damaged],
      ['duplicate', row.duplicate],
      ['filtered', row.filtered],
      ['refused', row.refused],
      ['late', row.late],
      ['absorbed', row.absorbed],
    ]
      .filter(([, value]) => value > 0)
      .map(([name, value]) => `${count(value)} ${name}`)
      .join(', ') || none;
  return table(
    'Pipelines',
    [
      { title: 'Pipeline', cell: (row) => [row.name, row.draining && h('small', null, ' draining')] },
      {
        title: 'Watermark',
        number: true,
        cell: (row) => (row.windows?.watermark ? moment(row.windows.watermark) : none),
      },
      { title: 'Behind', number: true, cell: (row) => duration(row.windows?.behindSeconds) },
      { title: 'Open windows', number: true, cell: (row) => count(row.windows?.open) },
      { title: 'Open', number: true, cell: (row) => counted(row.openReadings, 'reading') },
      { title: 'Decoded', number: true, cell: (row) => count(row.decoded) },
      { title: 'Delivered', number: true, cell: (row) => count(row.delivered) },
      { title: 'Otherwise', wide: true, cell: outcome },
      { title: 'Version', cell: (row) => (row.version ? h('code', { title: row.version }, row.version.slice(0, 8)) : none) },
    ],
    rows,
    'No pipeline is configured.',
  );
}

// MARK: Uplinks

const good = new Set(['has-it']);
const soft = new Set(['still-taking-in', 'not-now', 'too-large']);

function attempts(report) {
  const rows = report.uplinks.flatMap((uplink) => {
    const all = Object.values(uplink.answers).reduce((total, value) => total + value, 0);
    return Object.entries(uplink.answers)
      .sort((a, b) => b[1] - a[1])
      .map(([answer, value]) => ({ key: `${uplink.name} ${answer}`, uplink: uplink.name, answer, value, share: value / all }));
  });
  const tone = (answer) => (good.has(answer) ? 'ok' : soft.has(answer) ? 'warning' : 'critical');
  return [
    table(
      'Uplink attempts by answer',
      [
        { title: 'Uplink', cell: (row) => row.uplink },
        { title: 'Answer', tag: true, cell: (row) => chip(tone(row.answer), row.answer) },
        { title: 'Attempts', number: true, cell: (row) => count(row.value) },
        { title: 'Share', cell: (row) => bar(row.share, tone(row.answer)) },
      ],
      rows,
      'Nothing was attempted since the start.',
    ),
    report.uplinks
      .filter((uplink) => uplink.lastError)
      .map((uplink) => h('p', { class: 'quiet', key: uplink.name }, `${uplink.name}: ${visible(uplink.lastError)}`)),
  ];
}

// MARK: One batch

const nameOf = (item) => item.batch;

function picked(traces, store) {
  return traces.find((item) => nameOf(item) === store.choice.trace) || traces[0];
}

function chooser(id, label, options, value, pick) {
  return h(
    'p',
    { class: 'choose' },
    h('label', { for: id }, label),
    h(
      'select',
      { id, on: { change: (event) => pick(event.target.value) } },
      options.map((option) => h('option', { value: option, selected: option === value, key: option }, option)),
    ),
  );
}

function chooseTrace(traces, store) {
  if (!traces?.length) return null;
  return chooser('trace', 'Batch', traces.map(nameOf), nameOf(picked(traces, store)), (value) => {
    store.choice.trace = value;
    store.render();
  });
}

function trace(traces, store) {
  if (!traces.length) return h('p', { class: 'quiet' }, 'No batch was delivered since the start.');
  const one = picked(traces, store);
  const first = Math.min(...one.spans.map((span) => instant(span.began)));
  const steps = one.spans.map((span) => ({
    name: span.attempt > 1 ? `${span.name} ${span.attempt}` : span.name,
    start: instant(span.began) - first,
    end: instant(span.ended) - first,
    tone: span.answer && span.answer !== 'has-it' ? 'failed' : span.name,
    note: span.answer,
  }));
  return [
    waterfall(steps),
    facts([
      ['Batch', h('code', null, one.batch)],
      ['Trace', h('code', null, one.trace)],
      ['Readings', count(one.readings), `${bytes(one.bytes)}, as compressed`],
      ['Delivered', one.delivered ? moment(one.delivered) : 'not yet', `${duration(one.seconds)} on the way`],
    ]),
    one.attemptsLeftOut > 0 && h('p', { class: 'quiet' }, `${counted(one.attemptsLeftOut, 'attempt')} in between not shown.`),
  ];
}

// MARK: Devices

function choosePipeline(report, store) {
  const names = (report?.pipelines || []).map((row) => row.name);
  if (!names.length) return null;
  const now = names.includes(store.choice.pipeline) ? store.choice.pipeline : names[0];
  return chooser('pipeline', 'Pipeline', names, now, (value) => {
    store.choice.pipeline = value;
    delete store.items.devices;
    store.refresh();
  });
}

function deviceTable(value, store) {
  const rows = (value.devices || []).map((row) => ({ key: row.device, ...row }));
  const has = (name) => rows.some((row) => row[name] != null);
  const number = (name, title) =>
    has(name) && { title, number: true, minor: (row) => row[name] === 0, cell: (row) => count(row[name]) };
  const columns = [
    { title: 'Device', cell: (row) => visible(row.device) || '(no key)' },
    has('lastSeen') && {
      title: 'Last seen',
      number: true,
      cell: (row) => (row.lastSeen ? `${duration(since(row.lastSeen, store.now()))} ago` : none),
    },
    has('perSecond') && { title: 'Rate', number: true, cell: (row) => `${figure(row.perSecond)} /s` },
    number('received', 'Received'),
    number('missing', 'Missing'),
    number('repeats', 'Repeats'),
    number('resets', 'Resets'),
    number('reordered', 'Reordered'),
    number('last', 'Last number'),
    has('fields') && {
      title: 'Fields',
      wide: true,
      cell: (row) => (row.fields || []).map((field) => `${visible(field.field)} ${field.type}`).join(', ') || none,
    },
  ].filter(Boolean);
  return [
    table('Devices', columns, rows, 'Nothing is known of devices yet.'),
    value.known > rows.length && h('p', { class: 'quiet' }, `${count(rows.length)} of ${count(value.known)} devices.`),
  ];
}

// MARK: Process

const machine = (report, store) =>
  facts([
    ['Software', `forebay ${report.software}`],
    ['Running for', duration(report.uptimeSeconds)],
    ['Memory', bytes(report.residentBytes)],
    ['Written to disk', bytes(report.writtenBytes)],
    [
      'Clock',
      report.clockSynchronised ? chip('ok', 'synchronised') : chip('warning', 'not synchronised'),
      `gateway ${moment(new Date(store.now()).toISOString())}`,
    ],
    ['Log', h('code', null, report.spool.log), `${count(report.spool.received)} messages ever`],
    ['Spool', h('code', null, report.spool.directory)],
  ]);
