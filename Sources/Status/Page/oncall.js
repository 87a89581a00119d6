// What fails, what waits, what was set aside and why; and what an operator can do about it.

import { alarmList } from './alarms.js';
import { getJSON, token } from './api.js';
import { bytes, count, counted, duration, moment, none, readable, since, visible } from './format.js';
import { bar, button, chip, loaded, section, skeleton, sourceChip, table, uplinkChip, waiting } from './parts.js';
import { h } from './dom.js';

export const needs = ['status', 'report', 'counts', 'replays'];

/** Letters of one reason that are shown. */
const shownLetters = 20;

export function view(store) {
  const { status, report, counts, replays } = store.items;
  if (status?.value === undefined) return waiting('On call', status, skeleton(6));
  const { page = 0, ticket = 0, list = [] } = status.value.alarms || {};
  const all = page + ticket;
  return [
    h(
      'div',
      { class: 'title', key: 'title' },
      h('h1', { tabindex: '-1' }, 'On call'),
      chip(status.value.state, status.value.state),
      h('p', { class: 'quiet' }, all ? `${counted(page, 'page')}, ${counted(ticket, 'ticket')}` : 'nobody is called'),
    ),
    section(
      'Alarms',
      { aside: all > list.length && h('p', { class: 'quiet' }, `the worst ${list.length} of ${all}`) },
      list.length ? alarmList(list, store) : h('p', { class: 'well' }, chip('ok', 'No alarms'), ' Nothing to do.'),
    ),
    failing(report?.value, store),
    backlog(status.value, report),
    section('Dead letters by reason', null, loaded(counts, (value) => letters(value, store))),
    section(
      'Replays',
      { aside: button('Replay…', () => replay(status.value, store), { class: 'plain' }) },
      loaded(replays, (value) => replayList(value, store), 1),
    ),
    access(store),
  ];
}

// MARK: What fails

function failing(report, store) {
  if (!report) return section('Sources and uplinks', null, skeleton());
  const detail = (text, wait) =>
    text || wait != null
      ? [text ? visible(text) : '', wait != null && h('small', null, ` next attempt in ${duration(wait)}`)]
      : none;
  const rows = [
    ...report.sources.map((source) => ({
      key: `source ${source.name}`,
      name: source.name,
      kind: 'source',
      state: sourceChip(source.state),
      detail: detail(source.detail),
    })),
    ...report.uplinks.map((uplink) => ({
      key: `uplink ${uplink.name}`,
      name: uplink.name,
      kind: 'uplink',
      state: uplinkChip(uplink.state),
      failing: uplink.failingSeconds,
      detail: detail([uplink.lastError, ...uplink.holds].filter(Boolean).join('; '), uplink.nextAttemptSeconds),
      act: button(uplink.state === 'paused' ? 'Resume…' : 'Pause…', () => pause(uplink, store), {
        class: 'plain',
        'aria-label': `${uplink.state === 'paused' ? 'Resume' : 'Pause'} uplink ${uplink.name}`,
      }),
    })),
  ];
  return section(
    'Sources and uplinks',
    null,
    table(
      'Sources and uplinks',
      [
        { title: 'Name', cell: (row) => [row.name, h('small', null, ` ${row.kind}`)] },
        { title: 'State', tag: true, cell: (row) => row.state },
        { title: 'Failing for', number: true, cell: (row) => duration(row.failing) },
        { title: 'Last fault', wide: true, cell: (row) => row.detail },
        { title: 'Action', number: true, cell: (row) => row.act || none },
      ],
      rows,
      'Neither sources nor uplinks are configured.',
    ),
  );
}

function pause(uplink, store) {
  const resumes = uplink.state === 'paused';
  store.ask({
    title: `${resumes ? 'Resume' : 'Pause'} uplink ${uplink.name}?`,
    text: resumes
      ? 'What waits in the outbox is delivered again from now on.'
      : 'Nothing is delivered over it until it is resumed. The outbox keeps what waits, within the bounds of the spool.',
    confirm: resumes ? 'Resume' : 'Pause',
    path: `v1/uplinks/${encodeURIComponent(uplink.name)}/${resumes ? 'resume' : 'pause'}`,
    done: () => `Uplink ${uplink.name} is ${resumes ? 'resumed' : 'paused'}.`,
  });
}

// MARK: What waits

function backlog(status, report) {
  const rows = (status.pipelines?.list || []).map((row) => ({ key: row.name, ...row }));
  const batches = (name) => report?.value?.pipelines.find((pipeline) => pipeline.name === name)?.outboxBatches;
  return section(
    'Backlog',
    null,
    table(
      'Backlog',
      [
        { title: 'Pipeline', cell: (row) => row.name },
        { title: 'To read', number: true, cell: (row) => counted(row.backlog, 'message') },
        { title: 'To deliver', number: true, cell: (row) => counted(row.outboxReadings, 'reading') },
        {
        title: 'Batches',
        number: true,
        cell: (row) => (batches(row.name) == null ? none : counted(batches(row.name), 'batch', 'batches')),
      },
        { title: 'Oldest waits', number: true, cell: (row) => duration(row.oldestSeconds) },
        { title: 'Freshness', number: true, cell: (row) => duration(row.freshnessSeconds) },
      ],
      rows,
      'No pipeline is configured.',
    ),
  );
}

// MARK: What was set aside

const reasonKey = (reason) => `${reason.pipeline}\n${reason.stage}\n${reason.rule}`;

function letters(counts, store) {
  const reasons = counts.filter((reason) => reason.count > 0 || reason.expired > 0);
  if (!reasons.length) return h('p', { class: 'well' }, chip('ok', 'No dead letters'), ' Nothing was refused.');
  return h(
    'ul',
    { class: 'reasons' },
    [...reasons].sort((a, b) => b.count - a.count).map((reason) => reasonItem(reason, store)),
  );
}

function reasonItem(reason, store) {
  const key = reasonKey(reason);
  const opened = store.opened.get(key);
  const last = since(reason.last, store.now());
  const panel = `letters-${key.replace(/[^\w]+/g, '-')}`;
  return h(
    'li',
    { key },
    h(
      'div',
      { class: 'reason' },
      h(
        'div',
        { class: 'which' },
        h('strong', null, reason.rule),
        h('small', null, `${reason.stage} · ${reason.pipeline}`),
      ),
      h('span', { class: 'number big' }, count(reason.count)),
      h(
        'small',
        { class: 'figures' },
        [
          bytes(reason.bytes),
          last != null && `last ${duration(last)} ago`,
          reason.expired ? `${count(reason.expired)} expired` : null,
        ]
          .filter(Boolean)
          .join(' · '),
      ),
      reason.count > 0 &&
        h(
          'div',
          { class: 'acts' },
          button(opened ? 'Hide' : 'Show', () => toggle(reason, store), {
            class: 'plain',
            'aria-expanded': String(Boolean(opened)),
            'aria-controls': opened ? panel : null,
            'aria-label': `${opened ? 'Hide' : 'Show'} dead letters of ${reason.rule} of ${reason.pipeline}`,
          }),
          button('Requeue…', () => requeue(reason, store), {
            class: 'plain',
            'aria-label': `Requeue dead letters of ${reason.rule} of ${reason.pipeline}`,
          }),
        ),
    ),
    opened &&
      h(
        'div',
        { class: 'letters', id: panel },
        loaded(opened, (list) => [
          list.map((letter) => letterItem(letter, store)),
          reason.count > list.length &&
            h('p', { class: 'quiet' }, `The oldest ${list.length} of ${count(reason.count)}. 'forebay dead-letters list' shows all.`),
        ]),
      ),
  );
}

function letterItem(letter, store) {
  const shown = store.opened.get(letter.id);
  return h(
    'article',
    { class: 'letter', key: letter.id, 'aria-label': `Dead letter ${letter.id}` },
    h(
      'p',
      null,
      h('span', { class: 'number quiet' }, `${letter.id} `),
      h('code', null, visible(letter.topic)),
      h('small', null, ` received ${moment(letter.received)}`),
      letter.requested && chip('unknown', 'waits to be run again'),
    ),
    h('p', null, visible(letter.reason)),
    h(
      'details',
      { on: { toggle: (event) => event.currentTarget.open && !shown && fetchLetter(letter, store) } },
      h('summary', null, letter.withheld ? 'Payload (withheld)' : `Payload, ${bytes(letter.payloadBytes)}`),
      loaded(shown, (whole) => payload(whole), 2),
    ),
  );
}

function payload({ letter, text, payload: base64, isTruncated }) {
  if (letter.withheld) {
    return h(
      'p',
      { class: 'quiet' },
      'Its bytes are not kept, because the pipeline masks fields. ',
      letter.inLog === false ? 'The log no longer holds the message.' : "'forebay log show' prints the message.",
    );
  }
  const shown = text != null ? visible(text) : readable(base64 || '');
  return [
    h('pre', { tabindex: '0', role: 'region', 'aria-label': `Payload of dead letter ${letter.id}` }, shown || '(empty)'),
    isTruncated && h('p', { class: 'quiet' }, `Only its beginning. 'forebay dead-letters show ${letter.id}' has all.`),
  ];
}

async function toggle(reason, store) {
  const key = reasonKey(reason);
  if (store.opened.has(key)) {
    store.opened.delete(key);
    return store.render();
  }
  const query = new URLSearchParams({ pipeline: reason.pipeline, stage: reason.stage, rule: reason.rule, limit: shownLetters });
  await store.open(key, async () => (await getJSON(`v1/dead-letters?${query}`)).deadLetters);
}

const fetchLetter = (letter, store) => store.open(letter.id, () => getJSON(`v1/dead-letters/${letter.id}`));

function requeue(reason, store) {
  store.ask({
    title: `Requeue ${counted(reason.count, 'dead letter')}?`,
    text:
      `Those of ${reason.rule} (${reason.stage}) of pipeline ${reason.pipeline} run through today's pipeline, the oldest ` +
      'first, beside live data. What is refused again comes back here.',
    fields: [{ name: 'rate', label: 'Dead letters a second, at most', type: 'number', min: 1, value: 100 }],
    confirm: 'Requeue',
    path: 'v1/dead-letters/requeue',
    body: ({ rate }) => ({
      pipeline: reason.pipeline,
      stage: reason.stage,
      rule: reason.rule,
      ...(Number(rate) > 0 ? { rate: `${Math.round(Number(rate))}/s` } : {}),
    }),
    done: (answer) => `${counted(answer.letters, 'dead letter')} of ${reason.rule} will run again.`,
  });
}

// MARK: Replays

function replayList(replays, store) {
  return table(
    'Replays',
    [
      { title: 'Replay', cell: (row) => row.id },
      {
        title: 'State',
        tag: true,
        cell: (row) => [
          chip({ failed: 'critical', paused: 'warning', running: 'ok', finished: 'ok' }[row.state] || 'unknown', row.state),
          (row.reason || row.waitsFor) && h('small', null, ` ${visible(row.reason || `waits for ${row.waitsFor}`)}`),
        ],
      },
      { title: 'Pipeline', cell: (row) => row.pipeline },
      {
        title: 'Read',
        cell: (row) =>
          h(
            'span',
            { class: 'budget long' },
            bar(row.messages ? row.read / row.messages : 1, 'ok', `read of ${row.id}`),
            h('span', { class: 'number' }, `${count(row.read)} of ${counted(row.messages, 'message')}`),
          ),
      },
      { title: 'Delivered', number: true, cell: (row) => counted(row.delivered, 'reading') },
      {
        title: 'Action',
        number: true,
        cell: (row) =>
          row.ended
            ? none
            : h(
                'span',
                { class: 'acts' },
                steer(row, row.state === 'paused' ? 'resume' : 'pause', store),
                steer(row, 'cancel', store),
              ),
      },
    ],
    replays.map((row) => ({ key: row.id, ...row })),
    'No replay is under way.',
  );
}

const effects = {
  pause: 'What it has sealed is still delivered; the rest waits until it is resumed.',
  resume: 'It goes on where it stopped.',
  cancel: 'It ends for good. What it has sealed is still delivered.',
};

function steer(row, verb, store) {
  const word = verb[0].toUpperCase() + verb.slice(1);
  const ask = () =>
    store.ask({
      title: `${word} replay ${row.id}?`,
      text: effects[verb],
      confirm: verb === 'cancel' ? 'Cancel the replay' : word,
      path: `v1/replays/${encodeURIComponent(row.id)}/${verb}`,
      done: () => `Replay ${row.id}: ${verb} was asked for.`,
    });
  return button(`${word}…`, ask, { class: 'plain', 'aria-label': `${word} replay ${row.id}` });
}

function replay(status, store) {
  const names = (status.pipelines?.list || []).map((row) => row.name);
  if (!names.length) return store.tell('There is no pipeline to replay.');
  const minute = (time) => new Date(time).toISOString().slice(0, 16);
  const now = store.now();
  const body = ({ pipeline, from, to, rate, budget }) => ({
    pipeline,
    from: `${from}:00Z`,
    to: `${to}:00Z`,
    ...(Number(rate) > 0 ? { rate: Number(rate) } : {}),
    ...(Number(budget) > 0 ? { budgetBytes: Math.round(Number(budget) * 1024 * 1024) } : {}),
  });
  store.ask({
    title: 'Replay a stretch of the log?',
    text: 'What was received in this time runs through the pipeline once more and is delivered again, under a book of its own.',
    fields: [
      { name: 'pipeline', label: 'Pipeline', options: names, value: names[0] },
      { name: 'from', label: 'Received from (UTC)', type: 'datetime-local', required: true, value: minute(now - 36e5) },
      { name: 'to', label: 'and before (UTC)', type: 'datetime-local', required: true, value: minute(now) },
      { name: 'rate', label: 'Messages a second, at most', type: 'number', min: 1, hint: 'empty: as there is time for' },
      { name: 'budget', label: 'Budget upstream, MiB', type: 'number', min: 0, step: 'any', hint: 'empty: none' },
    ],
    confirm: 'Start the replay',
    estimate: { path: 'v1/replays/estimate', body, show: estimated },
    path: 'v1/replays',
    body,
    done: (answer) => `Replay ${answer.id ?? ''} is under way.`,
  });
}

const estimated = (answer) =>
  h(
    'p',
    null,
    h('strong', null, 'Estimate: '),
    `${counted(answer.readings, 'reading')} in ${counted(answer.batches, 'batch', 'batches')}, ${bytes(answer.bytes)} upstream, ` +
      `from ${counted(answer.messages, 'message')}`,
    answer.refused ? `; ${counted(answer.refused, 'dead letter')}` : '',
    answer.seconds != null ? `; ${duration(answer.seconds)} at this rate` : '',
    answer.cost != null ? `; costs ${answer.cost.toFixed(answer.cost < 1 ? 4 : 2)} ${answer.currency || ''}` : '',
    answer.sampledMessages < answer.messages ? ` (reckoned from ${counted(answer.sampledMessages, 'message')})` : '',
    '.',
  );

// MARK: Access

function access(store) {
  const has = Boolean(token.value);
  const save = (event) => {
    event.preventDefault();
    const input = event.target.querySelector('input');
    token.value = input.value.trim();
    input.value = '';
    store.tell(token.value ? 'The token is kept until this tab is closed.' : 'No token was given.');
    store.refresh();
  };
  return section(
    'Access',
    null,
    h(
      'p',
      { class: 'quiet' },
      'Requeue, replay and pause need the token of an operator; each is written to the audit log.',
    ),
    has
      ? h(
          'p',
          { key: 'has' },
          'A token is kept for this tab. ',
          button(
            'Forget it',
            () => {
              token.value = '';
              store.tell('The token is forgotten.');
              store.refresh();
            },
            { class: 'plain' },
          ),
        )
      : h(
          'form',
          { class: 'token', key: 'needs', on: { submit: save } },
          h('label', { for: 'token' }, 'Token'),
          h('input', { id: 'token', type: 'password', autocomplete: 'current-password' }),
          h('button', { class: 'plain' }, 'Keep for this tab'),
        ),
  );
}
