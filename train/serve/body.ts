import { concatBytes } from '../../common/bytes.ts';
import { RequestError } from './request-error.ts';

/** Of a JSON body. */
export interface BodyLimits {
  readonly maxBodyBytes: number;
}

/** Objects and lists in each other; schemas and messages have a few. */
const mostDepth = 64;

const refuse = (status: number, message: string): RequestError => new RequestError(message, { status });

/** The bytes of a body, of which no more than the limit are ever held. */
async function bytesOf(request: Request, { maxBodyBytes }: BodyLimits): Promise<Uint8Array> {
  const tooLarge = (): RequestError =>
    refuse(413, `the body is larger than ${maxBodyBytes} bytes; send less at a time`);
  if (Number(request.headers.get('content-length') ?? 0) > maxBodyBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
    size += (read.value as Uint8Array).length;
    if (size > maxBodyBytes) {
      void reader?.cancel().catch(() => undefined);
      throw tooLarge();
    }
    chunks.push(read.value as Uint8Array);
  }
  return concatBytes(chunks);
}

/** How deep objects and lists lie in each other, up to where it is too deep. */
function depthOf(json: string): number {
  let [depth, deepest, isText] = [0, 0, false];
  for (let i = 0; i < json.length && deepest <= mostDepth; i++) {
    const character = json[i]!;
    if (isText) {
      if (character === '\\') i++;
      else if (character === '"') isText = false;
    } else if (character === '"') isText = true;
    else if (character === '{' || character === '[') deepest = Math.max(deepest, ++depth);
    else if (character === '}' || character === ']') depth--;
  }
  return deepest;
}

/**
 * The JSON of a request's body. Errors: 415, it is not said to be JSON (so that a page of another site cannot
 * send it unasked); 413, it is too large; 400, it is no UTF-8, no JSON, or too deep.
 */
export async function readJson(request: Request, limits: BodyLimits): Promise<unknown> {
  const type = request.headers.get('content-type')?.split(';')[0]!.trim().toLowerCase();
  if (type !== 'application/json') throw refuse(415, 'send JSON, with the header content-type: application/json');
  const bytes = await bytesOf(request, limits);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw refuse(400, 'the body is no UTF-8');
  }
  if (depthOf(text) > mostDepth)
    throw refuse(400, `the body has more than ${mostDepth} objects or lists in each other`);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // What the parser says quotes the text, which is nobody else's business.
    throw refuse(400, 'the body is no JSON');
  }
}
