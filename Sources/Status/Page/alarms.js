// Alarms, the same on every view.

import { h } from './dom.js';
import { chip } from './parts.js';
import { duration, moment, since } from './format.js';

/** The page first, then the oldest. */
export const inOrder = (alarms) =>
  [...alarms].sort(
    (a, b) =>
      (a.severity === 'page' ? 0 : 1) - (b.severity === 'page' ? 0 : 1) ||
      String(a.since).localeCompare(String(b.since)),
  );

export const alarmList = (alarms, store, short) =>
  h(
    'ul',
    { class: 'alarms', key: 'alarms' },
    inOrder(alarms).map((alarm) => {
      const age = since(alarm.since, store.now());
      return h(
        'li',
        { key: `${alarm.kind} ${alarm.subject || ''} ${alarm.text}` },
        chip(alarm.severity === 'page' ? 'critical' : 'warning', alarm.severity || 'alarm'),
        h(
          'div',
          null,
          h(
            'p',
            { class: 'what' },
            h('strong', null, alarm.kind),
            alarm.subject ? ` ${alarm.subject}` : '',
            age != null && h('time', { datetime: alarm.since, title: moment(alarm.since) }, ` for ${duration(age)}`),
          ),
          h('p', null, alarm.text),
          !short && runbook(alarm.runbook),
        ),
      );
    }),
  );

// A link only to the web: the packaged runbooks are files of the gateway, which a browser elsewhere cannot open.
function runbook(text) {
  if (!text) return null;
  const isLink = /^https?:\/\//.test(text);
  return h(
    'p',
    { class: 'runbook' },
    'Runbook: ',
    isLink ? h('a', { href: text, rel: 'noreferrer', target: '_blank' }, text) : h('code', null, text),
  );
}
