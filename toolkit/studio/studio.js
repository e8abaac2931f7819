// Small things the pages do by themselves: the before/after border, large pictures, copying, and keeping one's place.
(() => {
  const chosen = {};      // run → prompt looked at, kept while parts of the page are drawn anew
  let border = 50;
  let atLogEnd = true;

  const placeBorder = (value) => {
    border = Number(value);
    document.documentElement.style.setProperty('--slider-at', `${border}%`);
  };

  const showPrompt = (figure, value) => {
    const select = figure.querySelector('select');
    const option = [...select.options].find((each) => each.value === value);
    if (!option) return;
    select.value = value;
    const before = figure.querySelector('img.before'), after = figure.querySelector('img.after');
    const side = figure.querySelector('.side.right').textContent;
    if (before.getAttribute('src') !== option.dataset.before) before.src = option.dataset.before;
    if (after.getAttribute('src') !== option.dataset.after) after.src = option.dataset.after;
    before.alt = `Base: ${option.textContent}`;
    after.alt = `${side}: ${option.textContent}`;
  };

  document.addEventListener('input', (event) => {
    if (event.target.matches('.compare input[type=range]')) placeBorder(event.target.value);
  });
  document.addEventListener('change', (event) => {
    const figure = event.target.closest('.compare');
    if (!figure || event.target.tagName !== 'SELECT') return;
    chosen[figure.dataset.key] = event.target.value;
    showPrompt(figure, event.target.value);
  });
  document.addEventListener('scroll', (event) => {
    const log = event.target;
    if (log.classList && log.classList.contains('log')) atLogEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  }, true);

  // ── A picture at full size: arrows walk updates and prompts ──
  let box, opened;
  const cellAt = (row, column) => {
    const rows = document.querySelectorAll('table.grid tbody tr');
    return rows[row] && rows[row].querySelectorAll('td')[column]?.querySelector('.open');
  };
  const placeOf = (button) => {
    const row = button.closest('tr');
    return [[...row.parentNode.children].indexOf(row), [...row.querySelectorAll('td')].indexOf(button.closest('td'))];
  };
  const show = (button) => {
    opened = placeOf(button);
    box.querySelector('img').src = button.querySelector('img').src;
    box.querySelector('img').alt = button.querySelector('img').alt;
    box.querySelector('p').textContent = button.dataset.caption;
  };
  const walk = (rows, columns) => {
    const next = cellAt(opened[0] + rows, opened[1] + columns);
    if (next) show(next);
  };
  const openBox = (button) => {
    if (!box) {
      box = document.createElement('dialog');
      box.className = 'lightbox';
      box.setAttribute('aria-label', 'Picture');
      box.innerHTML = '<img alt=""><p aria-live="polite"></p><div><button type="button" class="button small" data-walk="-1">← Earlier</button>'
        + '<button type="button" class="button small" data-walk="1">Later →</button><button type="button" class="button small" data-close>Close</button></div>';
      box.addEventListener('click', (event) => {
        if (event.target === box || event.target.closest('[data-close]')) box.close();
        const step = event.target.closest('[data-walk]');
        if (step) walk(0, Number(step.dataset.walk));
      });
      box.addEventListener('keydown', (event) => {
        const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
        if (step) { event.preventDefault(); walk(...step); }
      });
      box.addEventListener('close', () => cellAt(...opened)?.focus());
      document.body.append(box);
    }
    show(button);
    box.showModal();
  };
  document.addEventListener('click', (event) => {
    const button = event.target.closest && event.target.closest('.grid .open');
    if (button) openBox(button);
    const copy = event.target.closest && event.target.closest('[data-copy]');
    if (copy) {
      const content = copy.closest('.copyable').querySelector('pre').textContent;
      (navigator.clipboard ? navigator.clipboard.writeText(content) : Promise.reject()).then(() => { copy.textContent = 'Copied'; }, () => { copy.textContent = 'Select and copy'; });
    }
  });
  document.addEventListener('keydown', (event) => {
    const button = document.activeElement;
    const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    if (!step || !button.matches('.grid .open')) return;
    const [row, column] = placeOf(button);
    const next = cellAt(row + step[0], column + step[1]);
    if (next) { event.preventDefault(); next.focus(); }
  });

  // ── What has a key keeps focus and stays unfolded when its part is drawn anew ──
  let focused = null;
  const unfolded = new Set();
  const byKey = (key) => document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  document.addEventListener('focusin', (event) => { focused = event.target.dataset.key || null; });
  document.addEventListener('focusout', (event) => {
    const left = event.target;
    setTimeout(() => { if (left.isConnected && document.activeElement !== left && focused === left.dataset.key) focused = null; });
  });
  document.addEventListener('toggle', (event) => {
    const fold = event.target;
    if (fold.dataset?.key) unfolded[fold.open ? 'add' : 'delete'](fold.dataset.key);
  }, true);
  document.addEventListener('click', (event) => {
    for (const fold of document.querySelectorAll('.sure[open]')) if (!fold.contains(event.target)) fold.open = false;
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') for (const fold of document.querySelectorAll('.sure[open]')) fold.open = false;
  });

  // ── After a part was drawn anew: border, prompt, log position and title as they were ──
  const settle = () => {
    for (const key of unfolded) {
      const fold = byKey(key);
      if (fold && !fold.open) fold.open = true; else if (!fold) unfolded.delete(key);
    }
    if (focused && document.activeElement === document.body) byKey(focused)?.focus({preventScroll: true});
    const figure = document.querySelector('.compare:not(.empty)');
    if (figure) {
      const range = figure.querySelector('input[type=range]');
      if (range && Number(range.value) !== border) range.value = border;
      if (chosen[figure.dataset.key] !== undefined) showPrompt(figure, chosen[figure.dataset.key]);
    }
    const log = document.querySelector('.log');
    if (log && atLogEnd) log.scrollTop = log.scrollHeight;
    const spoken = document.querySelector('[data-spoken]'), live = document.getElementById('spoken');
    if (spoken && live && live.textContent !== spoken.dataset.spoken) live.textContent = spoken.dataset.spoken;
    const head = document.querySelector('[data-title]');
    const title = head ? `${head.dataset.title} · Palate` : 'Palate';
    if (document.title !== title) document.title = title;
  };
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; settle(); });
  }).observe(document.documentElement, {childList: true, subtree: true});
})();
