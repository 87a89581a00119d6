// Is it well, how fresh is the data, what does it cost.

import { bar, chip, facts, icon, loaded, section, skeleton, sourceChip, table, uplinkChip, waiting } from './parts.js';
import { chart, historyRows, series } from './charts.js';
import { bytes, count, counted, duration, figure, none, percent, visible } from './format.js';
import { h } from './dom.js';
import { alarmList } from './alarms.js';

export const needs = ['status', 'report', 'history'];

const sentences = {
  ok: ['No alarms', ''],
  warning: ['Something needs a look', 'In working hours is soon enough.'],
  critical: ['Somebody is needed now', 'Data is not safe, or those who wait for it do not get it.'],
};

export function view(store) {
  const { status, report, history } = store.items;
  if (status?.value === undefined) return waiting('Overview', status, skeleton(3), chartsLoading());
  return [
    hero(status, store),
    charts(status.value, history, store),
    status.value.objectives?.length
      ? h(
          'div',
          { class: 'columns', key: 'objectives-and-cost' },
          objectives(status.value.objectives),
          cost(status.value, report?.value),
        )
      : cost(status.value, report?.value, { class: 'pairs', key: 'cost' }),
    section('Pipelines', { aside: more(status.value.pipelines) }, pipelines(status.value.pipelines)),
    h(
      'div',
      { class: 'columns even', key: 'ends' },
      section(
        'Sources',
        { aside: more(status.value.sources) },
        table(
          'Sources',
          [
            { title: 'Source', cell: (source) => source.name },
            { title: 'State', tag: true, cell: (source) => sourceChip(source.state) },
            { title: 'Last message', number: true, cell: (source) => ago(source.lastMessageSeconds) },
            { title: 'Received', number: true, cell: (source) => counted(source.messages, 'message') },
          ],
          keyed(status.value.sources),
          'No source is configured.',
        ),
      ),
      section(
        'Uplinks',
        { aside: more(status.value.uplinks) },
        table(
          'Uplinks',
          [
            { title: 'Uplink', cell: (uplink) => uplink.name },
            { title: 'State', tag: true, cell: (uplink) => uplinkChip(uplink.state) },
            { title: 'Failing for', number: true, cell: (uplink) => failing(uplink) },
            { title: 'Delivered', number: true, cell: (uplink) => counted(uplink.delivered, 'reading') },
          ],
          keyed(status.value.uplinks),
          'No uplink is configured.',
        ),
      ),
    ),
  ];
}

const keyed = (list) => (list?.list || []).map((row) => ({ key: row.name, ...row }));
const ago = (seconds) => (seconds == null ? none : `${duration(seconds)} ago`);
const failing = (uplink) => (uplink.failingSeconds == null ? none : duration(uplink.failingSeconds));

const more = (list) =>
  list && list.total > list.list.length && h('p', { class: 'quiet' }, `the worst ${list.list.length} of ${list.total}`);

function hero({ value: status, failure }, store) {
  // What was true once is not told as if it were true now.
  const state = failure ? 'unknown' : status.state;
  const [title, text] = sentences[state] || ['How it is now is not known', ''];
  const { page = 0, ticket = 0, list = [] } = status.alarms || {};
  const both = [page && counted(page, 'page'), ticket && counted(ticket, 'ticket')].filter(Boolean).join(', ');
  return h(
    'section',
    { class: `hero card ${state}`, key: 'hero', 'aria-label': 'State' },
    h(
      'div',
      { class: 'verdict' },
      icon(state),
      h(
        'div',
        null,
        h('h1', { tabindex: '-1' }, h('span', { class: 'hidden' }, 'Overview: '), title),
        h('p', null, failure && 'when it last answered: ', h('strong', null, status.state), both ? ` · ${both}. ` : ' · no alarms. ', text),
        // What was measured, in the words of the terminal.
        !failure && status.headline && h('p', { class: 'measured' }, `${visible(status.headline)}.`),
      ),
    ),
    list.length > 0 && alarmList(list.slice(0, 3), store, true),
    list.length > 0 &&
      h(
        'p',
        { class: 'go' },
        h('a', { href: '#/on-call' }, page + ticket > 3 ? `All ${page + ticket} alarms and what to do` : 'What to do'),
      ),
  );
}

const chartsLoading = () =>
  h('div', { class: 'charts' }, series.map((kind) => h('div', { class: 'chart card', key: kind.name }, skeleton(3))));

function charts(status, history, store) {
  if (history?.value === undefined && !history?.failure) return chartsLoading();
  const now = {
    messagesPerSecond: status.messages?.perSecond,
    freshnessSeconds: status.freshnessSeconds,
    backlog: status.backlog?.messages,
    outboxReadings: status.outbox?.readings,
  };
  return h(
    'section',
    { 'aria-label': 'The last hour', key: 'charts' },
    loaded(history, (value) => [
      h('div', { class: 'charts' }, series.map((kind) => chart(kind, value, store.pointer, now[kind.name]))),
      h(
        'details',
        { class: 'as-table' },
        h('summary', null, 'The last hour as a table'),
        table(
          'The last hour, a row for every five minutes',
          [
            { title: 'Time', cell: (row) => row.time },
            ...series.map((kind, index) => ({ title: kind.title, number: true, cell: (row) => row.cells[index] })),
          ],
          historyRows(value),
          'Nothing is known of the last hour yet.',
        ),
      ),
    ]),
  );
}

// The words of the alarm and of `forebay status`.
function budgetLeft(left) {
  if (left > 0) return percent(left, 0);
  const times = (1 - left).toFixed(1);
  return times === '1.0' ? 'used up' : `used up ${times} times over`;
}

const tones = { ok: 'ok', burning: 'warning', spent: 'critical' };

function objectives(list) {
  return section(
    'Objectives',
    null,
    table(
      'Objectives',
      [
        { title: 'Objective', cell: (row) => row.name },
        { title: 'State', tag: true, cell: (row) => chip(tones[row.state] || 'unknown', row.state) },
        {
          title: 'Measured',
          number: true,
          cell: (row) => [percent(row.measured, 2), h('small', null, ` of ${percent(row.target, 2)}`)],
        },
        {
          title: 'Error budget left',
          cell: (row) =>
            row.budgetRemaining == null
              ? none
              : h(
                  'span',
                  { class: 'budget' },
                  bar(row.budgetRemaining, tones[row.state] || 'unknown', `error budget left of ${row.name}`),
                  h('span', { class: 'number' }, budgetLeft(row.budgetRemaining)),
                ),
        },
        {
          title: 'Burn rate 1 h · 6 h',
          number: true,
          minor: (row) => row.state === 'ok',
          cell: (row) => `${figure(row.burnRate1h)} · ${figure(row.burnRate6h)}`,
        },
      ],
      list.map((row) => ({ key: row.name, ...row })),
    ),
  );
}

function cost(status, report, props) {
  const { payloadBytes, writtenBytes, sentBytes } = status.cost || {};
  const per = (value) => (payloadBytes > 0 && value != null ? `${figure(value / payloadBytes)} B` : none);
  const disk = status.disk || {};
  const used = disk.maximumBytes > 0 ? disk.usedBytes / disk.maximumBytes : null;
  const scarce = disk.parked || disk.freeBytes <= disk.minimumFreeBytes;
  const { cpuSeconds, residentBytes } = status.process || {};
  return section(
    'Cost',
    props,
    facts([
      ['Written to disk per payload byte', per(writtenBytes), `${bytes(writtenBytes)} of ${bytes(payloadBytes)}`],
      ['Sent upstream per payload byte', per(sentBytes), bytes(sentBytes)],
      [
        'Spool',
        [bytes(disk.usedBytes), used != null && bar(used, used > 0.9 ? 'warning' : 'ok', `${percent(used, 0)} used`)],
        `of ${bytes(disk.maximumBytes)}`,
      ],
      [
        'Disk free',
        [bytes(disk.freeBytes), scarce && chip('critical', 'short')],
        `at least ${bytes(disk.minimumFreeBytes)} stay`,
      ],
      ['Memory', bytes(residentBytes ?? report?.residentBytes), 'resident'],
      cpuSeconds != null && [
        'Processor',
        status.uptimeSeconds > 0 ? percent(cpuSeconds / status.uptimeSeconds) : none,
        `of one core since ${duration(status.uptimeSeconds)}`,
      ],
    ]),
  );
}

const pipelines = (list) =>
  table(
    'Pipelines',
    [
      { title: 'Pipeline', cell: (row) => row.name },
      { title: 'Freshness', number: true, cell: (row) => duration(row.freshnessSeconds) },
      { title: 'Backlog', number: true, cell: (row) => counted(row.backlog, 'message') },
      { title: 'Outbox', number: true, cell: (row) => counted(row.outboxReadings, 'reading') },
      { title: 'Oldest waits', number: true, cell: (row) => duration(row.oldestSeconds) },
      { title: 'Delivered', number: true, cell: (row) => count(row.delivered) },
      {
        title: 'Dead letters',
        number: true,
        cell: (row) => (row.deadLetters ? h('a', { href: '#/on-call' }, count(row.deadLetters)) : '0'),
      },
    ],
    keyed(list),
    'No pipeline is configured.',
  );
