// An operator's action is asked for once more, with what it does, before it is done. One dialog at a time.

import { h, patch } from './dom.js';
import { button } from './parts.js';
import { post, token } from './api.js';

const root = document.getElementById('dialogs');
let asked = null;

/**
 * @param question `{ title, text, fields, confirm, path, body(values), estimate, done(answer) }`. A field is
 *   `{ name, label, type, value, hint, options, required, min }`. With `estimate`, `{ path, body(values), show(answer) }`,
 *   what it would cost is told first, and again after every change. `done` makes the sentence that tells what was done.
 * @param tell what is done with that sentence.
 */
export function ask(question, tell) {
  if (asked) return;
  const values = Object.fromEntries((question.fields || []).map((field) => [field.name, field.value ?? '']));
  asked = { question, tell, values, typed: '', busy: false, problem: null, estimated: null, wantsToken: !token.value };
  render();
  root.querySelector('dialog').showModal();
}

export const isOpen = () => asked !== null;

function close() {
  asked = null;
  const dialog = root.querySelector('dialog');
  // First closed, so that the focus returns to where it came from.
  if (dialog?.open) dialog.close();
  patch(root, []);
}

// Of Escape; one that is gone already tells its closing late.
const closed = (event) => event.target.isConnected && close();

async function attempt(work) {
  const mine = asked;
  if (mine.busy) return;
  mine.busy = true;
  mine.problem = null;
  // What was typed takes the place of what was kept once it has opened something.
  const kept = token.value;
  if (mine.typed) token.value = mine.typed;
  render();
  try {
    await work(mine);
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      mine.wantsToken = true;
      if (token.value === mine.typed) token.value = kept;
    }
    mine.problem =
      error.status === 403
        ? `This token may not do that: ${error.message}`
        : error.status === 401
          ? `A token of an operator is needed: ${error.message}`
          : `It was not done: ${error.message}`;
  }
  mine.busy = false;
  if (asked === mine) render();
}

const estimate = () =>
  attempt(async (mine) => {
    const answer = await post(mine.question.estimate.path, mine.question.estimate.body(mine.values));
    mine.estimated = mine.question.estimate.show(answer);
  });

const confirm = () =>
  attempt(async (mine) => {
    const answer = await post(mine.question.path, mine.question.body ? mine.question.body(mine.values) : {});
    close();
    mine.tell(mine.question.done(answer));
  });

function submitted(event) {
  event.preventDefault();
  if (asked.question.estimate && !asked.estimated) estimate();
  else confirm();
}

function field(item) {
  const id = `field-${item.name}`;
  const common = {
    id,
    name: item.name,
    required: item.required,
    'aria-describedby': item.hint ? `${id}-hint` : null,
    on: {
      input: (event) => {
        asked.values[item.name] = event.target.value;
        asked.estimated = null;
        render();
      },
    },
  };
  return h(
    'p',
    { class: 'field', key: item.name },
    h('label', { for: id }, item.label),
    item.options
      ? h(
          'select',
          common,
          item.options.map((option) => h('option', { value: option, selected: option === item.value }, option)),
        )
      : h('input', { ...common, type: item.type || 'text', min: item.min, step: item.step, value: item.value ?? '' }),
    item.hint && h('small', { id: `${id}-hint` }, item.hint),
  );
}

const tokenField = () =>
  h(
    'p',
    { class: 'field', key: 'token' },
    h('label', { for: 'field-token' }, 'Operator token'),
    h('input', {
      id: 'field-token',
      type: 'password',
      autocomplete: 'current-password',
      'aria-describedby': 'field-token-hint',
      on: { input: (event) => (asked.typed = event.target.value.trim()) },
    }),
    h('small', { id: 'field-token-hint' }, "Kept until this tab is closed. 'forebay token' makes one."),
  );

function render() {
  const { question, busy, problem, estimated, wantsToken } = asked;
  const first = question.estimate && !estimated;
  patch(root, [
    h(
      'dialog',
      { key: 'dialog', 'aria-labelledby': 'dialog-title', 'aria-describedby': 'dialog-text', on: { close: closed } },
      h(
        'form',
        { method: 'dialog', on: { submit: submitted } },
        h('h2', { id: 'dialog-title' }, question.title),
        h('p', { id: 'dialog-text' }, question.text),
        (question.fields || []).map(field),
        wantsToken && tokenField(),
        h('div', { class: 'told', role: 'status', key: 'told' }, estimated),
        h('div', { class: 'problem', role: 'alert', key: 'problem' }, problem && h('p', null, problem)),
        h(
          'div',
          { class: 'acts', key: 'acts' },
          button('Cancel', close, { class: 'plain' }),
          h(
            'button',
            { class: 'main', 'aria-disabled': busy ? 'true' : null },
            busy ? 'One moment…' : first ? 'Estimate' : question.confirm,
          ),
        ),
      ),
    ),
  ]);
}
