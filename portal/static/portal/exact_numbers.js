// With this script, the API pages show a response with all digits of its numbers. Swagger UI itself would parse the
// response. JavaScript then rounds whole numbers beyond 2^53 and drops the last zeros of a decimal.
"use strict";

const JSON_TOKEN = /"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+/g;

function indentedJson(text) {
  const parts = [];
  let depth = 0;
  let before = "";
  const line = () => "\n" + "  ".repeat(depth);
  for (const [token] of text.matchAll(JSON_TOKEN)) {
    const closes = token === "}" || token === "]";
    if (closes) {
      depth -= 1;
      if (before !== "{" && before !== "[") parts.push(line());
    } else if (before === "{" || before === "[" || before === ",") {
      parts.push(line());
    }
    parts.push(token === ":" ? ": " : token);
    if (token === "{" || token === "[") depth += 1;
    before = token;
  }
  return parts.join("");
}

// A preset for SwaggerUIBundle. The content type text/plain makes Swagger UI show the text unchanged.
const exactNumbers = () => ({
  wrapComponents: {
    responseBody: (Original, system) => (props) => {
      const isJson = /json/i.test(props.contentType || "") && typeof props.content === "string";
      const shown = isJson ? { ...props, content: indentedJson(props.content), contentType: "text/plain" } : props;
      return system.React.createElement(Original, shown);
    },
  },
});
