import { standalonePage } from '../report/html-page.ts';
import { pageStyle } from '../report/page-style.ts';

const style = `
main { max-width: 52rem; } [hidden] { display: none !important; }
label { display: block; font-size: .875rem; color: var(--soft); }
input, select, textarea { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: .35rem; padding: .4rem .5rem; width: 100%; min-height: 2.25rem; }
textarea { resize: vertical; min-height: 6rem; }
form button { font-size: 1rem; min-height: 2.25rem; padding: .3rem 1rem; }
form button:disabled { color: var(--soft); cursor: default; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: .75rem 0; }
.buttons { display: flex; gap: .5rem; flex-wrap: wrap; margin: .75rem 0; }
#out { display: grid; gap: .5rem; margin-top: 1rem; }
#out > div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
#out > .mine { border-left: .35rem solid var(--c0); } #out > .wrong { border-left: .35rem double rgb(var(--wrong)); }
#out > div > small { display: block; }
`;

const body = `<main>
<header><h1>Try the models</h1></header>
<p class="about" id="about" role="status">Loading the list of models.</p>
<form id="form">
<div class="row">
<label>Model<select id="model"></select></label>
<label>Key, where the server wants one<input id="key" type="password" autocomplete="off"></label>
</div>
<label id="named" for="text">Text</label><textarea id="text" required></textarea>
<div class="row" id="second" hidden><label>Context, with the answer<textarea id="context"></textarea></label></div>
<div class="row" id="drawing">
<label>Temperature<input id="temperature" type="number" min="0" max="2" step="0.1" value="1"></label>
<label>New tokens at most<input id="tokens" type="number" min="1" value="100"></label>
</div>
<div class="buttons"><button id="send">Send</button><button id="stop" type="button" disabled>Stop</button>
<button id="clear" type="button">Begin anew</button></div>
</form>
<section id="out" aria-live="polite" aria-label="Answers"></section>
</main>`;

const script = `
const by = (id) => document.getElementById(id);
let models = [], messages = [], running;
const asks = { 'fill-mask': 'Text with [MASK]', 'question-answering': 'Question', chat: 'Your turn' };
const kind = () => (models.find((m) => m.id === by('model').value)?.tasks ?? []).at(0);
const isChat = () => models.find((m) => m.id === by('model').value)?.tasks.includes('chat');
const headers = () => ({ 'content-type': 'application/json',
  ...(by('key').value ? { authorization: 'Bearer ' + by('key').value } : {}) });
function show(text, className, about) {
  const box = document.createElement('div');
  if (className) box.className = className;
  if (about) { const small = document.createElement('small'); small.textContent = about; box.append(small); }
  const node = document.createTextNode(text);
  box.append(node);
  by('out').append(box);
  return node;
}
async function failure(response) {
  const text = await response.text();
  try { return JSON.parse(text).error.message; } catch { return response.status + ' ' + text; }
}
function fit() {
  const task = kind();
  by('drawing').hidden = task !== 'text-generation';
  by('second').hidden = task !== 'question-answering';
  by('named').textContent = asks[isChat() ? 'chat' : task] ?? 'Text';
}
async function load() {
  const response = await fetch('/v1/models', { headers: headers() });
  if (!response.ok) { by('about').textContent = await failure(response); return; }
  models = (await response.json()).data;
  by('model').replaceChildren(...models.map((m) => new Option(m.id + ': ' + m.tasks.join(', '), m.id)));
  by('about').textContent = models.length + (models.length === 1 ? ' model' : ' models') + ' on this server.';
  fit();
}
async function post(path, body) {
  const response = await fetch(path, { method: 'POST', headers: headers(), body: JSON.stringify(body),
    signal: running.signal });
  if (!response.ok) throw new Error(await failure(response));
  return response;
}
async function write(path, body, piece) {
  const response = await post(path, { ...body, stream: true });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split('\\n\\n');
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith('data: {')) continue;
      const data = JSON.parse(event.slice(6));
      if (data.error) throw new Error(data.error.message);
      for (const choice of data.choices) piece(choice.delta?.content ?? choice.text ?? '');
    }
  }
}
async function run() {
  const [model, text, task] = [by('model').value, by('text').value, kind()];
  const options = { model, temperature: Number(by('temperature').value), max_tokens: Number(by('tokens').value) };
  show(text, 'mine', 'you');
  const began = performance.now();
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1) + ' s';
  if (task === 'text-generation') {
    const answer = show('', '', model);
    const piece = (more) => { answer.data += more; };
    if (isChat()) {
      messages.push({ role: 'user', content: text });
      by('text').value = '';
      try {
        await write('/v1/chat/completions', { ...options, messages }, piece);
        messages.push({ role: 'assistant', content: answer.data });
      } catch (error) { messages.pop(); throw error; }
    } else await write('/v1/completions', { ...options, prompt: text }, piece);
    by('about').textContent = model + ' answered in ' + seconds() + '.';
    return;
  }
  const isVector = task === 'feature-extraction';
  const inputs = task === 'question-answering' ? { question: text, context: by('context').value } : text;
  const parameters = task === 'text-classification' ? { top_k: 5 } : {};
  const response = await post(isVector ? '/v1/embeddings' : '/v1/tasks/' + task,
    isVector ? { model, input: text } : { model, inputs, parameters });
  const result = await response.json();
  if (isVector) {
    const vector = result.data[0].embedding;
    show(vector.length + ' numbers: ' + vector.slice(0, 8).map((x) => x.toFixed(4)).join(', ') + ', ...', '', model);
  } else show(lines(result), '', model);
  by('about').textContent = model + ' answered in ' + seconds() + '.';
}
const short = (value) => (typeof value === 'number' ? Number(value.toFixed(4)) : value);
const lines = (result) => [result].flat()
  .map((each) => Object.entries(each).map(([key, value]) => key + ': ' + short(value)).join('  ')).join('\\n');
by('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  if (running || !by('model').value) return;
  running = new AbortController();
  by('send').disabled = true; by('stop').disabled = false;
  try { await run(); } catch (error) { show(running.signal.aborted ? 'stopped' : error.message, 'wrong'); }
  running = undefined;
  by('send').disabled = false; by('stop').disabled = true;
});
by('stop').addEventListener('click', () => running?.abort());
by('clear').addEventListener('click', () => { messages = []; by('out').replaceChildren(); by('text').focus(); });
by('model').addEventListener('change', () => { messages = []; fit(); });
by('key').addEventListener('change', load);
load().catch((error) => { by('about').textContent = error.message; });
`;

let page: string | undefined;

/** A page to try the models by hand. It asks this server alone, and holds nothing of its own. */
export function servedPage(): Response {
  page ??= standalonePage({
    title: 'tapeform: try the models',
    body,
    style: `${pageStyle}${style}`,
    script,
    asksServer: true,
  });
  return new Response(page, { headers: { 'content-type': 'text/html; charset=utf-8' } });
}
