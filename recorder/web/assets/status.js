// Follows the recorder and keeps the page current. The server renders; this
// script only carries what differs into the page, so that a selection, the
// focus and the scroll position survive.
"use strict";
(() => {
  const quiet = 12000; // events come at least every five seconds
  const lost = document.getElementById("lost");
  let heard = Date.now();

  const carry = (from, to) => {
    for (const { name } of [...to.attributes]) {
      if (!from.hasAttribute(name)) to.removeAttribute(name);
    }
    for (const { name, value } of from.attributes) {
      if (to.getAttribute(name) !== value) to.setAttribute(name, value);
    }
    const wanted = [...from.childNodes];
    while (to.childNodes.length > wanted.length) to.lastChild.remove();
    wanted.forEach((node, i) => {
      const have = to.childNodes[i];
      if (!have) to.append(node);
      else if (have.nodeName !== node.nodeName) have.replaceWith(node);
      else if (node.nodeType === Node.ELEMENT_NODE) carry(node, have);
      else if (have.data !== node.data) have.data = node.data;
    });
  };

  const say = (text) => {
    if (lost.textContent !== text) lost.textContent = text;
    document.body.classList.toggle("old", text !== "");
  };

  const show = (html) => {
    const next = new DOMParser().parseFromString(html, "text/html").querySelector("main");
    if (!next) return;
    carry(next, document.querySelector("main"));
    document.title = next.dataset.title;
    const icon = document.querySelector("link[rel=icon]");
    const href = `/assets/${next.dataset.state}.svg`;
    if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
  };

  // A page that nobody refreshes must not go on saying that all is well.
  const watch = () => {
    if (Date.now() - heard < quiet) return;
    const at = document.querySelector(".asof time")?.textContent ?? "";
    say(`Not connected to the recorder. What you see is from ${at} and may be wrong now.`);
    document.title = "Not connected · siprecd";
  };

  const follow = () => {
    const events = new EventSource("/status?follow=page");
    events.onmessage = (event) => {
      heard = Date.now();
      say("");
      show(event.data);
    };
    events.onerror = () => {
      watch();
      // The browser gives up for good after an answer like 503.
      if (events.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
    };
  };

  setInterval(watch, 1000);
  follow();
})();
