// Figures for people, always with their unit, in the words of `forebay status`.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const three = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

export const none = '–';

const known = (value) => typeof value === 'number' && Number.isFinite(value);

export const count = (value) => (known(value) ? whole.format(value) : none);

/** Three digits, so that small figures keep theirs and large ones do not shout. */
export function figure(value) {
  if (!known(value)) return none;
  return Math.abs(value) >= 100 ? whole.format(value) : three.format(value);
}

/** `1 message`, `2,000 messages`. */
export const counted = (value, word, words = `${word}s`) => `${count(value)} ${value === 1 ? word : words}`;

export function bytes(value) {
  if (!known(value)) return none;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let rest = value;
  while (Math.abs(rest) >= 1024 && unit < 4) {
    rest /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? whole.format(rest) : rest.toFixed(1)} ${units[unit]}`;
}

/** `320 ms`, `1.2 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`. */
export function duration(seconds) {
  if (!known(seconds)) return none;
  const size = Math.abs(seconds);
  const sign = seconds < 0 ? '−' : '';
  if (size === 0) return '0 s';
  if (size < 0.001) return `${sign}${three.format(size * 1e6)} µs`;
  if (size < 0.9995) return `${sign}${three.format(size * 1e3)} ms`;
  if (size < 59.5) return `${sign}${size < 10 ? size.toFixed(1) : whole.format(size)} s`;
  const parts = (large, big, little, small) => {
    const all = Math.round(size / little[0]);
    const per = large / little[0];
    const [a, b] = [Math.floor(all / per), all % per];
    return `${sign}${a} ${big}${b ? ` ${b} ${small}` : ''}`;
  };
  if (size < 3570) return parts(60, 'min', [1], 's');
  if (size < 86370) return parts(3600, 'h', [60], 'min');
  return parts(86400, 'd', [3600], 'h');
}

export const percent = (ratio, digits = 1) => (known(ratio) ? `${trim((ratio * 100).toFixed(digits)).replace('-', '−')} %` : none);
const trim = (text) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);

const two = (value) => String(value).padStart(2, '0');

/** The browser's time of day. */
export function clock(date) {
  return Number.isNaN(date.getTime()) ? none : `${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** `2026-11-21 16:00:05 UTC` of RFC 3339: the text that logs and other tools have. */
export function moment(text) {
  const date = new Date(text);
  if (!text || Number.isNaN(date.getTime())) return none;
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** Seconds since 1970 of RFC 3339, with all the digits of its fraction. */
export function instant(text) {
  const [, whole, fraction] = /^(.{19})(?:\.(\d+))?/.exec(text) || [];
  return Date.parse(`${whole}Z`) / 1000 + Number(`0.${fraction || 0}`);
}

/** Seconds since then, by the gateway's clock where it is known. */
export function since(text, now) {
  const then = Date.parse(text);
  return Number.isNaN(then) ? null : Math.max(0, (now - then) / 1000);
}

/** What base 64 holds, as readable text: control characters become their pictures. */
export function readable(base64) {
  let plain;
  try {
    plain = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return '';
  }
  return visible(new TextDecoder().decode(plain));
}

export function visible(text) {
  return text
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (character) => String.fromCharCode(0x2400 + character.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, '\ufffd');
}
