"""chat.json: dialogues as Transformers' chat templates render them.

The templates use what templates of models on the hub use: roles with marks, a system message that is put into the first
turn, refusals, namespaces and loops with filters, macros, slices, tests, tools as JSON, dates, tags that trim blanks,
generation tags. Each is rendered for every dialogue and every setting; `error` where it refuses.
"""

import datetime
import json
import os
from unittest import mock

from transformers.utils import chat_template_utils

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system"
        "\\nYou help.<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "
        "+ '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "headers": """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|head|>system<|end|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + strftime_now("%d %b %Y") + "\\n\\n" }}
{%- if tools %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|head|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {%- for call in message.tool_calls %}
            {{- '{"name": "' + call.function.name + '", "parameters": ' + (call.function.arguments | tojson) + '}' }}
        {%- endfor %}
    {%- else %}
        {{- '<|head|>ipython<|end|>\\n\\n' }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- '<|eot|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|end|>\\n\\n' }}
{%- endif %}
""",
    "alternating": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}\
{{ raise_exception('System role not supported') }}\
{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start>' + role + '\\n' + message['content'] | trim + '<end>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{'<start>model\\n'}}{% endif %}""",
    "namespaces": """{%- macro text(content) -%}
{%- if content is string -%}{{ content }}{%- else -%}
{%- for item in content -%}{%- if item.type == 'text' -%}{{ item.text }}{%- endif -%}{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(last=-1, count=0) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.last == -1 and message.role == "user" %}{%- set ns.last = index %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = text(message.content) %}
    {%- if message.role == "assistant" and '</think>' in content and loop.index0 < ns.last %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- set ns.count = ns.count + content|length %}
[{{ loop.index }}/{{ loop.length }}{{ ' last' if loop.last }}] {{ message.role|upper }}: {{ content }}
{% endfor %}
({{ ns.count }} characters, {{ messages | selectattr('role', 'equalto', 'user') | list | length }} of users,
{{- ' ' ~ (messages | map(attribute='role') | join(', ')) }})
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>
{% endif %}
{%- for key, value in {'a': 1, 'b': 2.5, 'c': none, 'd': true}.items() %}{{ key }}={{ value }};{% endfor %}
""",
    "generation": """{% for message in messages %}
{% if message.role == 'assistant' %}
A: {% generation %}{{ message.content }}{{ eos_token }}{% endgeneration %}

{% else %}
{{ message.role | capitalize }}: {{ message.content | replace('é', 'e') }}
{% endif %}
{% endfor %}
{%- if add_generation_prompt %}A: {% endif %}""",
}

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Today's weather <now> & here, in °C",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
DIALOGUES = {
    "one": [{"role": "user", "content": "Hello there!"}],
    "system": [
        {"role": "system", "content": " You are terse. "},
        {"role": "user", "content": "  Spaces, and\nlines  "},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "é 漢字 🙂 \"quotes\" <tags>"},
    ],
    "thinking": [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "<think>easy</think>\n\n4"},
        {"role": "user", "content": "And 3 + 3?"},
    ],
    "tools": [
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "tool_calls": [
            {
                "type": "function",
                "function": {"name": "weather", "arguments": {"city": "Paris", "days": [1, 2], "x": None}},
            }
        ], "content": ""},
        {"role": "tool", "content": "{\"degrees\": 21.5}"},
    ],
    "parts": [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}
    ],
    "twice": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "last": [{"role": "user", "content": "Begin"}, {"role": "assistant", "content": "I begin and "}],
    "none": [],
}
SETTINGS = [
    {}, {"add_generation_prompt": True}, {"tools": [TOOL], "add_generation_prompt": True},
    {"enable_thinking": False}, {"continue_final_message": True},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class Now(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 5, 14, 7, 9)


def generate(folder, _):
    cases = []
    for name, template in TEMPLATES.items():
        for dialogue, messages in DIALOGUES.items():
            for i, settings in enumerate(SETTINGS):
                case = {"template": name, "dialogue": dialogue, "settings": i}
                try:
                    with mock.patch.object(chat_template_utils, "datetime", Now):
                        rendered, _ = chat_template_utils.render_jinja_template(
                            [json.loads(json.dumps(messages))], chat_template=template, **settings, **TOKENS
                        )
                    case["text"] = rendered[0]
                except Exception as error:  # what Transformers raises for any reason
                    case["error"] = str(error).split("\n")[0]
                cases.append(case)
    golden = {"templates": TEMPLATES, "dialogues": DIALOGUES, "settings": SETTINGS, "tokens": TOKENS, "cases": cases}
    with open(os.path.join(folder, "chat.json"), "w") as file:
        json.dump(golden, file, ensure_ascii=True, indent=1)
        file.write("\n")
