/* Sends the code behind the `#` of the link in a form, so that no address with the code reaches a server or its logs. */
const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", location.pathname);
  const form = document.getElementById("open-invitation");
  form.elements.code.value = code;
  form.submit();
}
