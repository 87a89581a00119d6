// Pieces that every view is made of.

import { h } from './dom.js';
import { none, percent } from './format.js';

const paths = {
  ok: ['M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20z', 'M7.5 12.5l3 3 6-6.5'],
  warning: ['M12 2.5L22.5 21.5h-21z', 'M12 9v6M12 18v.5'],
  critical: ['M8 2h8l6 6v8l-6 6H8l-6-6V8z', 'M12 7v6M12 16.5v.5'],
  unknown: ['M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20z', 'M7.5 12h9'],
};

/** A shape per state, so that the colour is never alone. */
export const icon = (state) =>
  h(
    'svg',
    { class: `icon ${state}`, viewBox: '0 0 24 24', 'aria-hidden': 'true' },
    h('path', { class: 'shape', d: (paths[state] || paths.unknown)[0] }),
    h('path', { class: 'sign', d: (paths[state] || paths.unknown)[1] }),
  );

/** A word with its shape and colour; `tone` is `ok`, `warning`, `critical` or `unknown`. */
export const chip = (tone, word) => h('span', { class: `chip ${tone}` }, icon(tone), word);

export const section = (title, props, ...children) =>
  h(
    'section',
    { class: `card ${props?.class || ''}`, 'aria-labelledby': id(title), key: props?.key ?? title },
    h('div', { class: 'head' }, h('h2', { id: id(title) }, title), props?.aside),
    ...children,
  );

const id = (title) => `h-${title.toLowerCase().replace(/[^a-z]+/g, '-')}`;

/**
 * A table that becomes a list of cards on a narrow screen; the roles are there because that layout takes them away.
 * A column is `{ title, cell(row), number, wide, tag, minor(row) }`; the first heads its row, and a tag stands
 * beside it. What is minor is left out where it is narrow.
 */
export function table(label, columns, rows, empty) {
  if (!rows.length) return h('p', { class: 'quiet' }, empty);
  return h(
    'table',
    { role: 'table', 'aria-label': label },
    h(
      'thead',
      { role: 'rowgroup' },
      h(
        'tr',
        { role: 'row' },
        columns.map((column) =>
          h('th', { role: 'columnheader', scope: 'col', class: column.number ? 'number' : null }, column.title),
        ),
      ),
    ),
    h(
      'tbody',
      { role: 'rowgroup' },
      rows.map((row, index) =>
        h(
          'tr',
          { role: 'row', key: row.key ?? index },
          columns.map((column, at) => {
            const content = column.cell(row);
            const kinds = [
              column.number && 'number',
              column.wide && 'broad',
              column.tag && 'tag',
              content === none && 'void',
              column.minor?.(row) && 'minor',
            ];
            return h(
              at ? 'td' : 'th',
              {
                role: at ? 'cell' : 'rowheader',
                scope: at ? null : 'row',
                class: kinds.filter(Boolean).join(' ') || null,
                'data-title': column.title,
              },
              h('span', null, content),
            );
          }),
        ),
      ),
    ),
  );
}

/** How much of something there is, as a bar with words. */
export function bar(ratio, tone, label) {
  const share = Math.max(0, Math.min(1, ratio));
  return h(
    'span',
    { class: `bar ${tone}`, role: 'img', 'aria-label': label || percent(share, 0) },
    h('span', { class: 'fill', 'width%': Number((share * 100).toFixed(1)) }),
  );
}

/** Names and figures in two columns: `[name, figure, remark]`. */
export const facts = (pairs) =>
  h(
    'dl',
    { class: 'facts' },
    pairs
      .filter(Boolean)
      .map(([name, value, remark]) => [
        h('dt', { key: `${name} name` }, name),
        h('dd', { key: name }, value, remark && h('small', null, remark)),
      ]),
  );

/** What stands where something is still being fetched. */
export const skeleton = (lines = 3) =>
  h(
    'div',
    { class: 'skeleton', 'aria-hidden': 'true' },
    Array.from({ length: lines }, () => h('span')),
  );

/** What a view shows before the gateway has said anything; why it does not stands above. */
export const waiting = (title, status, ...content) => [
  h('h1', { tabindex: '-1', key: 'waiting' }, title),
  status?.failure ? null : content,
];

/** Waiting, failed or there: `ready` makes the content. */
export function loaded(item, ready, lines) {
  if (item?.value !== undefined) return ready(item.value);
  if (item?.failure) return h('p', { class: 'quiet' }, `Not available: ${item.failure.message}.`);
  return skeleton(lines);
}

export const button = (text, press, props) =>
  h('button', { type: 'button', on: { click: press }, ...props }, text);

const sourceTones = { connected: 'ok', connecting: 'unknown', waiting: 'warning', stopped: 'unknown' };
const uplinkTones = { idle: 'ok', delivering: 'ok', retrying: 'warning', paused: 'warning', held: 'critical' };

export const sourceChip = (state) => chip(sourceTones[state] || 'critical', words(state));
export const uplinkChip = (state) => chip(uplinkTones[state] || 'unknown', words(state));

/** `takenOver` as people write it. */
export const words = (state) => state.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
