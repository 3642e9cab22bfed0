// The status page. It shows what the gateway tells and sends nothing but questions. All
// that comes from the gateway is put in as text, never as markup.
'use strict';

const $ = (id) => document.getElementById(id);
const svgNS = 'http://www.w3.org/2000/svg';

// el makes an element: el('span', {class: 'x'}, 'text', child, …).
function el(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== ''));
  return e;
}
function shape(name, attributes) {
  const e = document.createElementNS(svgNS, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
}
const code = (text) => el('code', {}, text);
const setText = (e, text) => { if (e.textContent !== text) e.textContent = text; };

// ---- numbers, sizes, times: in words ----

const state = { parts: {}, skew: 0, rates: {}, flow: [], out: [], lag: [] };
const now = () => Date.now() + state.skew; // by the gateway's clock
const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

function size(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return plain.format(n) + ' ' + units[i];
}
function span(ms) {
  if (!(ms >= 0)) return '0 s';
  const s = ms / 1000;
  if (s < 10) return s.toFixed(1) + ' s';
  if (s < 120) return Math.floor(s) + ' s';
  if (s < 7200) return Math.floor(s / 60) + ' min';
  if (s < 172800) return Math.floor(s / 3600) + ' h';
  return Math.floor(s / 86400) + ' d';
}
const since = (time) => (time ? span(now() - Date.parse(time)) : '');
const millis = (ms) => (ms > 0 ? plain.format(ms) + ' ms' : '–');
const rate = (n) => (n === undefined ? '…' : plain.format(n) + ' /s');

// grown says by how much a counter grows in a second, from one event to the next.
function grown(name, value, at) {
  const was = state.rates[name];
  if (was && at <= was.at) return was.rate;
  const r = was && value >= was.value && at > was.at ? (value - was.value) * 1000 / (at - was.at) : undefined;
  state.rates[name] = { value, at, rate: r };
  return r;
}

const moods = {
  running: 'good', up: 'good', applied: 'good', good: 'good',
  fault: 'bad', down: 'bad', failed: 'bad', rejected: 'bad', bad: 'bad', rolled_back: 'bad',
  starting: 'warn', stopping: 'warn', connecting: 'warn', paused: 'warn', draining: 'warn', uncertain: 'warn', pinned: 'warn', applying: 'warn', waiting: 'warn',
};
function setBadge(e, text) {
  setText(e, text);
  e.className = 'badge ' + (moods[text] || '');
}
function badge(text) {
  const e = el('span');
  setBadge(e, text);
  return e;
}

// ---- tables ----

const most = 100; // rows of a table; what is wrong comes first
const weight = { bad: 0, warn: 1 };
const byTrouble = (a, b) => (weight[moods[a.state]] ?? 2) - (weight[moods[b.state]] ?? 2);

// fill shows list in a table. Rows that stay keep their elements, so that what a person
// has selected stays too.
function fill(kind, list, key, cells, command) {
  const body = $(kind + '-rows');
  const labels = [...body.parentElement.querySelectorAll('th')].map((th) => th.textContent);
  const had = new Map([...body.children].map((tr) => [tr.dataset.key, tr]));
  const shown = [...list].sort(byTrouble).slice(0, most);
  shown.forEach((item, i) => {
    const id = key(item);
    let tr = had.get(id);
    had.delete(id);
    if (!tr) {
      tr = el('tr', { 'data-key': id });
      labels.forEach((label) => tr.append(el('td', { 'data-label': label })));
    }
    cells(item).forEach((content, k) => put(tr.children[k], content));
    if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] || null);
  });
  had.forEach((tr) => tr.remove());
  const more = $('more-' + kind + 's');
  if (!more) return;
  more.hidden = list.length <= most;
  if (!more.hidden) more.replaceChildren(`and ${list.length - most} more: `, code(command));
}

// put replaces what a cell shows, if it is something else: a text, or a list of texts and
// elements.
function put(cell, content) {
  const list = Array.isArray(content) ? content : [content];
  const signature = list.map((c) => (c && c.outerHTML) || String(c ?? '')).join('\u0000');
  if (cell.signature === signature) return;
  cell.signature = signature;
  cell.replaceChildren(...list.filter((c) => c !== null && c !== undefined && c !== ''));
}

const tooltip = { idle: 'no driver uses it now' };
const stateCell = (s) => {
  const b = badge(s);
  if (tooltip[s]) b.title = tooltip[s];
  return [b];
};
const advice = (text, command) => [text || '', text && command ? ' ' : '', command ? code(command) : ''];

function showTables(at) {
  const p = state.parts;
  const endpoints = p.endpoints || [], drivers = p.drivers || [], connectors = p.connectors || [];
  fill('endpoint', endpoints, (e) => e.id, (e) => [
    [el('strong', {}, e.id), ' ', el('span', { class: 'note' }, e.url)], stateCell(e.state), since(e.since),
    `${e.open} of ${e.max}` + (e.reconnects ? `, ${plain.format(e.reconnects)} reconnects` : ''), (e.drivers || []).slice(0, 5).join(', '),
    advice(e.error, e.state === 'down' ? 'edge-ctl probe ' + e.id : ''),
  ], 'edge-ctl endpoints');
  fill('driver', drivers, (d) => d.id, (d) => [
    [el('strong', {}, d.id), ' ', el('span', { class: 'note' }, `${d.proto} on ${d.endpoint}`)], stateCell(d.state), since(d.since),
    plain.format(d.points) + (d.bad ? `, ${plain.format(d.bad)} bad` : ''), `${millis(d.latency_p50_ms)} / ${millis(d.latency_p99_ms)}`, lastMinute(d.last_minute),
    advice(d.error || d.advice, d.state === 'paused' ? 'edge-ctl drivers resume ' + d.id : d.state === 'fault' || d.bad ? 'edge-ctl why ' + d.id : ''),
  ], 'edge-ctl drivers');
  fill('connector', connectors, (c) => c.name, (c) => [
    [el('strong', {}, c.name), ' ', el('span', { class: 'note' }, `${c.kind} ${c.peer}`)], stateCell(c.state), since(c.since),
    `${plain.format(c.lag)} frames`, `${rate(grown('c ' + c.name, c.out_frames, at))}, ${plain.format(c.out_frames)} in all`, `${millis(c.rtt_avg_ms)} / ${millis(c.rtt_p95_ms)}`,
    advice(c.error, c.state === 'paused' ? `edge-ctl connector ${c.name} resume` : c.state === 'up' ? '' : `edge-ctl connector ${c.name} test`),
  ], 'edge-ctl connector');
  setText($('n-endpoints'), String(endpoints.length));
  setText($('n-drivers'), String(drivers.length));
  setText($('n-connectors'), String(connectors.length));
}
function lastMinute(m) {
  if (!m) return '';
  let text = plain.format(m.polls) + ' polls';
  if (m.errors) text += `, ${plain.format(m.errors)} failed`;
  if (m.overruns) text += `, ${plain.format(m.overruns)} too late`;
  if (m.retries) text += `, ${plain.format(m.retries)} repeated`;
  return text;
}

// ---- problems, first ----

// words splits a text at 'commands in quotes'.
const words = (text) => text.split(/('edge-[^']*')/).map((w) => (w.startsWith("'edge-") ? code(w.slice(1, -1)) : w));

function showProblems() {
  const st = state.parts.status;
  if (!st) return;
  const problems = st.problems || [];
  const signature = JSON.stringify(problems.map((p) => [p.part, p.name, p.text, p.hint, since(p.since)]));
  setText($('n-problems'), problems.length ? String(problems.length) : '');
  $('no-problems').hidden = problems.length > 0;
  $('no-problems').className = 'ok';
  setText($('no-problems'), 'None. Everything that is configured works.');
  if ($('problem-list').signature === signature) return;
  $('problem-list').signature = signature;
  $('problem-list').replaceChildren(...problems.map((p) => el('li', {},
    el('span', { class: 'who' }, `${p.part} ${p.name}: `), ...words(p.text), p.since ? ` (for ${since(p.since)})` : '',
    p.hint ? el('span', { class: 'hint' }, '→ ', ...(p.hint.startsWith('edge-') ? [code(p.hint)] : words(p.hint))) : null)));
}

function showHead() {
  const st = state.parts.status;
  if (!st) return;
  setText($('gateway'), st.gateway);
  document.title = ((st.problems || []).length ? `(${st.problems.length}) ` : '') + st.gateway + ' – edge-gateway';
  setBadge($('state'), st.state);
  setText($('about'), `tenant ${st.tenant}, device ${st.device}, version ${st.version}, up ${since(st.started)}`);
}

// ---- flow ----

const kept = 120; // values of a small picture
function push(list, value) {
  if (value === undefined) return;
  list.push(value);
  if (list.length > kept) list.shift();
}

// line draws values into an svg of 100 by 26.
function line(svg, values) {
  let poly = svg.firstChild;
  if (!poly) {
    svg.setAttribute('viewBox', '0 0 100 26');
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('aria-hidden', 'true');
    svg.append(poly = shape('polyline', { class: 'line' }));
  }
  const low = Math.min(...values), high = Math.max(...values), n = Math.max(values.length - 1, 1);
  const y = (v) => (high > low ? 24 - 22 * (v - low) / (high - low) : 13);
  poly.setAttribute('points', values.map((v, i) => `${(100 * i / n).toFixed(1)},${y(v).toFixed(1)}`).join(' '));
}

function card(name, text, values) {
  let e = document.getElementById('card-' + name.replaceAll(' ', '-'));
  if (!e) {
    e = el('div', { id: 'card-' + name.replaceAll(' ', '-') }, el('dt', {}, name), el('dd', {}, el('span')));
    if (values) e.lastChild.append(shape('svg', {}));
    $('cards').append(e);
  }
  setText(e.querySelector('dd span'), text);
  if (values && values.length > 1) line(e.querySelector('svg'), values);
}

function showFlow(at) {
  const b = state.parts.bus;
  if (!b) return;
  const connectors = state.parts.connectors || [];
  const read = grown('seq', b.last_seq, at);
  const sent = grown('sent', connectors.reduce((n, c) => n + c.out_frames, 0), at);
  const lag = Math.max(0, ...(b.consumers || []).map((c) => c.lag));
  push(state.flow, read);
  push(state.out, sent);
  push(state.lag, lag);
  card('Read, frames', rate(read), state.flow);
  card('Delivered, frames', rate(sent), state.out);
  card('Backlog of the slowest', plain.format(lag) + ' frames', state.lag);
  const oldest = (b.consumers || []).filter((c) => c.lag && c.ack_time).map((c) => c.ack_time).sort()[0];
  card('Backlog reaches back', lag && oldest ? since(oldest) : lag ? '–' : 'nothing waits');
  const worst = Math.max(0, ...connectors.map((c) => c.rtt_p95_ms));
  card('Broker, round trip p95', millis(worst));
  card('Slowest device, p99', millis(Math.max(0, ...(state.parts.drivers || []).map((d) => d.latency_p99_ms))));
  card('Log', `${size(b.wal_bytes)} of ${size(b.wal_max_bytes)}`);
  card('Disk, free', size(b.free_bytes));
}

// ---- configuration ----

function showConfig() {
  const c = state.parts.config;
  if (c) {
    put($('config-now'), [badge(c.state), ` revision ${c.rev}, ${(c.sha256 || '').slice(0, 12)}, from ${c.source}, for ${since(c.since)}: ` +
      `${plain.format(c.endpoints)} endpoints, ${plain.format(c.drivers)} drivers, ${plain.format(c.variables)} variables`, c.error ? el('p', { class: 'note' }, c.error) : '']);
  }
  const list = state.parts.applies || [];
  fill('apply', list.map((a, i) => ({ ...a, key: `${a.began} ${a.rev} ${i}` })).map((a) => ({ outcome: a.state, ...a, state: '' })), (a) => a.key, (a) => [
    [el('strong', {}, String(a.rev || '–')), ' ', code((a.sha256 || '').slice(0, 12))], stateCell(a.outcome), since(a.began), millis(a.duration_ms),
    [a.impact || '', a.author ? ` by ${a.author}` : '', a.message ? `: ${a.message}` : '', a.error ? el('span', { class: 'note' }, ` ${a.failed_in ? 'failed in ' + a.failed_in + ': ' : ''}${a.error}`) : ''],
  ]);
}

// step shows an apply as it goes; its outcome ends the list.
function step(e) {
  const list = $('apply-steps');
  if (list.dataset.rev !== String(e.rev) || list.dataset.done) {
    list.replaceChildren();
    delete list.dataset.done;
  }
  list.dataset.rev = e.rev;
  if (!/^[A-Z]/.test(e.state)) list.dataset.done = 'yes'; // phases begin with a capital letter
  list.append(el('li', {}, `revision ${e.rev}: ${e.state}${e.text ? ' – ' + e.text : ''}`));
  while (list.children.length > 12) list.firstChild.remove();
  list.hidden = false;
}

// ---- tags: only those in sight are asked for ----

const tags = { total: 0, from: 0, list: [], seen: new Map(), at: 0, chosen: -1, timer: 0, busy: false, failed: 0 };
const rowHeight = () => (matchMedia('(max-width: 720px)').matches ? 56 : 32);
const longest = 15e6; // pixels that a browser can scroll
const tallest = 416; // pixels of the list

function inSight() {
  const h = rowHeight();
  return { from: Math.max(0, Math.floor($('tag-list').scrollTop / h) - 5), n: Math.ceil(tallest / h) + 10 };
}

async function askTags() {
  clearTimeout(tags.timer);
  if (tags.busy || document.hidden) return;
  tags.busy = true;
  const { from, n } = inSight();
  const filter = $('filter').value, quality = $('quality').value;
  const query = new URLSearchParams({ text: filter, quality, from, n });
  try {
    const r = await fetch('page/tags?' + query, { signal: AbortSignal.timeout(10000) });
    if (!r.ok) throw new Error(await r.text());
    const a = await r.json();
    if (filter !== $('filter').value || quality !== $('quality').value) tags.again = true;
    Object.assign(tags, { total: a.total, from: a.from, list: a.tags || [], failed: 0 });
    state.skew = Date.parse(a.now) - Date.now();
    tags.list.forEach(remember);
    showTags();
  } catch (err) {
    tags.failed++;
    $('no-tags').hidden = false;
    setText($('no-tags'), 'Tags are not known now: ' + err.message);
  } finally {
    tags.busy = false;
    const again = tags.again;
    tags.again = false;
    tags.timer = setTimeout(askTags, again ? 0 : backOff(tags.failed));
  }
}

// backOff is the pause before the next try: a second, longer after failures.
const backOff = (failed) => (failed ? Math.min(30000, 1000 * 2 ** failed) * (0.5 + Math.random() / 2) : 1000);

// remember keeps the last values of the tags in sight, for the small pictures.
function remember(t) {
  const v = typeof t.value === 'boolean' ? Number(t.value) : t.value;
  if (typeof v !== 'number') return;
  let list = tags.seen.get(t.tag);
  if (!list) {
    if (tags.seen.size > 500) tags.seen.delete(tags.seen.keys().next().value);
    tags.seen.set(t.tag, list = []);
  }
  list.push(v);
  if (list.length > 60) list.shift();
}

const valueText = (t) => (t.value === null || t.value === undefined ? '–' : (typeof t.value === 'object' ? JSON.stringify(t.value) : String(t.value)) + (t.unit ? ' ' + t.unit : ''));

function showTags() {
  const space = $('tag-space'), h = rowHeight();
  setText($('n-tags'), plain.format(tags.total));
  $('no-tags').hidden = tags.total > 0;
  setText($('no-tags'), $('filter').value || $('quality').value ? 'No tag matches.' : 'There are no tags.');
  space.style.height = Math.min(tags.total * h, longest) + 'px';
  $('tag-list').style.height = Math.max(h, Math.min(tags.total * h, tallest)) + 'px';
  const had = new Map([...space.children].map((r) => [r.dataset.tag, r]));
  tags.list.forEach((t, i) => {
    let r = had.get(t.tag);
    had.delete(t.tag);
    if (!r) {
      r = el('div', { class: 'row tag', role: 'option', 'data-tag': t.tag, id: 't:' + t.tag },
        el('span', { class: 'name' }), el('span', { class: 'value' }), el('span', { class: 'spark' }), el('span'), el('span', { class: 'age' }));
      r.children[2].append(shape('svg', {}));
      r.children[3].append(el('span'));
      r.addEventListener('click', () => { choose(Number(r.dataset.at)); open(t.tag); });
      space.append(r);
    }
    const at = tags.from + i;
    r.dataset.at = at;
    r.setAttribute('aria-posinset', at + 1);
    r.setAttribute('aria-setsize', tags.total);
    r.setAttribute('aria-selected', String(at === tags.chosen));
    r.style.transform = `translateY(${at * h}px)`;
    r.title = t.reason || t.tag;
    setText(r.children[0], t.tag);
    setText(r.children[1], valueText(t));
    const values = tags.seen.get(t.tag);
    if (values && values.length > 1) line(r.querySelector('svg'), values);
    setBadge(r.children[3].firstChild, t.quality || 'no value');
    setText(r.children[4], t.time ? since(t.time) : '–');
  });
  had.forEach((r) => r.remove());
  const chosen = tags.list[tags.chosen - tags.from];
  if (chosen) $('tag-list').setAttribute('aria-activedescendant', 't:' + chosen.tag);
  else $('tag-list').removeAttribute('aria-activedescendant');
}

function choose(i) {
  if (!tags.total) return;
  tags.chosen = Math.max(0, Math.min(tags.total - 1, i));
  const box = $('tag-list'), h = rowHeight(), top = tags.chosen * h;
  if (top < box.scrollTop) box.scrollTop = top;
  if (top + h > box.scrollTop + box.clientHeight) box.scrollTop = top + h - box.clientHeight;
  showTags();
}

// ---- one tag ----

let opened = 0; // counts, so that a late answer is of no tag that is shown no more

async function open(name) {
  const mine = ++opened;
  setText($('tag-name'), name);
  $('tag-facts').replaceChildren();
  $('hour').replaceChildren();
  $('hour').setAttribute('hidden', '');
  $('hour-texts').replaceChildren();
  setText($('hour-range'), '');
  setText($('hour-note'), 'The log is being read…');
  $('tag-commands').replaceChildren(...['edge-ctl why ' + name, 'edge-ctl read ' + name, `edge-bus replay --from -1h --tag ${name}`]
    .map((c) => el('li', {}, code(c))));
  if (!$('tag-dialog').open) $('tag-dialog').showModal();
  for (let failed = 0; mine === opened && $('tag-dialog').open && failed < 5;) {
    try {
      const r = await fetch('page/tag?' + new URLSearchParams({ name }), { signal: AbortSignal.timeout(15000) });
      if (!r.ok) throw Object.assign(new Error(await r.text()), { final: r.status < 500 });
      const a = await r.json();
      if (mine === opened) showTag(a);
      return;
    } catch (err) {
      failed++;
      if (mine === opened) setText($('hour-note'), err.message);
      if (err.final) return;
      await new Promise((done) => setTimeout(done, backOff(failed)));
    }
  }
}

function showTag(a) {
  const t = a.tag, facts = [
    ['value', valueText(t)], ['quality', t.quality || 'no value yet'], ['age', t.time ? since(t.time) : '–'], ['why', t.reason], ['for', t.reason ? since(t.reason_since) : ''],
    ['what helps', t.hint], ['driver', t.driver], ['address', t.address], ['type', `${t.datatype}, ${t.access}`], ['published', plain.format(t.frames) + ' times since its driver started'],
  ];
  $('tag-facts').replaceChildren(...facts.filter((f) => f[1]).flatMap(([k, v]) => [el('dt', {}, k), el('dd', {}, String(v))]));
  const points = a.points || [], texts = a.texts || [];
  const numbers = points.filter((p) => !p.none);
  const back = span(Date.parse(a.now) - Date.parse(a.from));
  setText($('hour-note'), a.whole ? (points.length || texts.length ? '' : 'The log has nothing of it. It keeps what retain says, and a tag that reports changes only may have had none.')
    : `The last ${back}: the log has more than this page reads. All of it: the last command below.`);
  if (numbers.length) drawHour(a, points, numbers);
  $('hour-texts').replaceChildren(...texts.map((x) => el('li', {}, new Date(x.at).toLocaleTimeString() + ' ', badge(x.quality), ' ' + (typeof x.value === 'string' ? x.value : JSON.stringify(x.value)))));
}

function drawHour(a, points, numbers) {
  const svg = $('hour'), begin = Date.parse(a.now) - 3600e3, step = 3600e3 / 300;
  const low = Math.min(...numbers.map((p) => p.min)), high = Math.max(...numbers.map((p) => p.max));
  const x = (at) => 600 * (at - begin) / 3600e3, y = (v) => (high > low ? 152 - 144 * (v - low) / (high - low) : 80);
  svg.removeAttribute('hidden');
  points.filter((p) => p.quality !== 'good').forEach((p) => svg.append(shape('rect', { class: 'doubt', x: x(p.at).toFixed(1), y: 0, width: 2, height: 160 })));
  let run = [];
  const draw = () => {
    if (!run.length) return;
    const upper = run.map((p) => `${x(p.at).toFixed(1)},${y(p.max).toFixed(1)}`), lower = run.map((p) => `${x(p.at).toFixed(1)},${y(p.min).toFixed(1)}`).reverse();
    svg.append(shape('polygon', { class: 'band', points: [...upper, ...lower].join(' ') }));
    svg.append(shape('polyline', { class: 'line', points: run.map((p) => `${x(p.at).toFixed(1)},${y((p.min + p.max) / 2).toFixed(1)}`).join(' ') }));
    run = [];
  };
  points.forEach((p, i) => {
    if (p.none) return draw(); // nothing is known: no line
    run.push(p);
    if (points[i + 1] && points[i + 1].at - p.at > 10 * step) draw();
  });
  draw();
  setText($('hour-range'), `from ${plain.format(low)} to ${plain.format(high)}${a.tag.unit ? ' ' + a.tag.unit : ''}; ${new Date(begin).toLocaleTimeString()} to ${new Date(Date.parse(a.now)).toLocaleTimeString()}; red: bad or doubtful`);
}

// ---- the stream ----

const stream = { source: null, failed: 0, timer: 0, last: 0 };

function connect() {
  clearTimeout(stream.timer);
  if (stream.source) stream.source.close();
  if (document.hidden) return; // nobody looks
  const source = stream.source = new EventSource('page/events');
  stream.last = Date.now();
  source.addEventListener('parts', (e) => {
    const { now: time, at, error, ...parts } = JSON.parse(e.data);
    stream.failed = 0;
    stream.last = Date.now();
    state.skew = Date.parse(time) - Date.now();
    setText($('link'), error ? 'the gateway does not answer: ' + error : 'live');
    $('link').className = error ? 'lost' : '';
    Object.assign(state.parts, parts);
    show(Date.parse(at));
  });
  source.addEventListener('apply', (e) => step(JSON.parse(e.data)));
  source.onerror = lost;
}

function lost() {
  stream.source.close();
  stream.failed++;
  const wait = backOff(stream.failed);
  setText($('link'), `not connected since ${new Date(stream.last).toLocaleTimeString()}: what is shown is old; next try in ${span(wait)}`);
  $('link').className = 'lost';
  clearTimeout(stream.timer);
  stream.timer = setTimeout(connect, wait);
}

function show(at) {
  showHead();
  showProblems();
  showFlow(at);
  showTables(at);
  showConfig();
}

// A stream that stalls is as good as lost.
setInterval(() => { if (!document.hidden && stream.source && stream.source.readyState === 1 && Date.now() - stream.last > 20000) lost(); }, 5000);

document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    if (stream.source) stream.source.close();
    return;
  }
  connect();
  askTags();
});

// ---- hands ----

let soon = 0;
function askSoon() {
  clearTimeout(soon);
  soon = setTimeout(() => { if (tags.busy) tags.again = true; else askTags(); }, 100);
}
$('tag-list').addEventListener('scroll', askSoon, { passive: true });
for (const id of ['filter', 'quality']) {
  $(id).addEventListener('input', () => {
    $('tag-list').scrollTop = 0;
    tags.chosen = -1;
    askSoon();
  });
}
addEventListener('resize', askSoon);
$('tag-list').addEventListener('keydown', (e) => {
  const page = Math.floor($('tag-list').clientHeight / rowHeight());
  const to = { ArrowDown: tags.chosen + 1, ArrowUp: tags.chosen - 1, PageDown: tags.chosen + page, PageUp: tags.chosen - page, Home: 0, End: tags.total - 1 }[e.key];
  if (to !== undefined) {
    choose(to);
    e.preventDefault();
  }
  const chosen = tags.list[tags.chosen - tags.from];
  if (e.key === 'Enter' && chosen) {
    open(chosen.tag);
    e.preventDefault(); // else the same key closes it
  }
});
$('tag-dialog').addEventListener('close', () => { opened++; });
const parts = ['problems', 'flow', 'endpoints', 'drivers', 'connectors', 'tags', 'config'];
addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.altKey || e.metaKey || $('tag-dialog').open || /^(INPUT|SELECT)$/.test(e.target.tagName)) return;
  if (e.key === '/') {
    $('filter').focus();
    e.preventDefault();
  } else if (e.key >= '1' && e.key <= String(parts.length)) {
    const part = $(parts[e.key - 1]);
    part.focus({ preventScroll: true });
    part.scrollIntoView();
  }
});

connect();
askTags();
