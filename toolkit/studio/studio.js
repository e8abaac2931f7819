// Small things the pages do by themselves: the before/after border, large pictures, copying, and keeping one's place.
(() => {
  const chosen = {};      // what is looked at in each figure, kept while parts of the page are drawn anew
  let border = 50;
  let atLogEnd = true;

  const say = (words, parts = {}) => Object.entries(parts).reduce(
    (said, [name, part]) => said.replace(`{${name}}`, part), window.palateWords[words] || words);

  // ── Two pictures on top of each other ──
  const placeBorder = (value) => {
    border = Number(value);
    document.documentElement.style.setProperty('--slider-at', `${border}%`);
    const range = document.querySelector('.compare input[type=range]'), toggle = document.querySelector('[data-toggle]');
    if (range && Number(range.value) !== border) range.value = border;
    const words = border === 100 ? say('After only') : border === 0 ? say('Both') : say('Before only');
    if (toggle && toggle.textContent !== words) toggle.textContent = words;
  };
  const placeZoom = (figure, value) => {
    figure.style.setProperty('--zoom', value);
    const button = figure.querySelector('[data-zoom]');
    button.dataset.zoom = value;
    const words = say('Zoom {times}×', {times: value});
    if (button.textContent !== words) button.textContent = words;
  };
  const lay = (figure) => {
    const kept = chosen[figure.dataset.key] || {}, select = figure.querySelector('select[data-row]');
    if (kept.row !== undefined && [...select.options].some((each) => each.value === kept.row)) select.value = kept.row;
    const option = select.selectedOptions[0];
    if (!option) return;
    for (const [side, place] of [['before', 'left'], ['after', 'right']]) {
      const choice = figure.querySelector(`select[data-side=${side}]`);
      if (choice && kept[side] !== undefined) choice.value = kept[side];
      const column = choice ? choice.value : figure.dataset[side];
      const image = figure.querySelector(`.${side} img`), label = figure.querySelector(`.side.${place}`);
      const url = option.dataset[`p${column}`];
      image.hidden = !url;
      if (url && image.getAttribute('src') !== url) image.src = url;
      if (choice) label.textContent = choice.selectedOptions[0].textContent;
      image.alt = `${label.textContent}: ${option.dataset.alt}`;
    }
    if (kept.zoom) placeZoom(figure, kept.zoom);
  };
  const remember = (figure, what) => Object.assign(chosen[figure.dataset.key] ||= {}, what);

  document.addEventListener('input', (event) => {
    if (event.target.matches('.compare input[type=range]')) placeBorder(event.target.value);
  });
  document.addEventListener('change', (event) => {
    const figure = event.target.closest('.compare');
    if (!figure || event.target.tagName !== 'SELECT') return;
    remember(figure, {[event.target.dataset.side || 'row']: event.target.value});
    lay(figure);
  });
  document.addEventListener('click', (event) => {
    const figure = event.target.closest && event.target.closest('.compare');
    if (!figure) return;
    if (event.target.matches('[data-toggle]')) placeBorder(border === 100 ? 0 : border === 0 ? 50 : 100);
    if (event.target.matches('[data-zoom]')) {
      const next = {1: 2, 2: 4, 4: 1}[event.target.dataset.zoom];
      remember(figure, {zoom: next});
      placeZoom(figure, next);
    }
  });
  // Clips start together: all of them are fetched first, then shown in one stroke.
  document.addEventListener('click', async (event) => {
    const button = event.target.closest && event.target.closest('[data-play]');
    if (!button) return;
    const cells = [...document.querySelectorAll('.grid .open[data-clip]')], plays = button.dataset.play === 'on';
    const pictures = cells.map((cell) => cell.querySelector('img'));
    pictures.forEach((image) => { image.dataset.poster ||= image.src; });
    const sources = cells.map((cell, at) => plays ? pictures[at].dataset.poster : cell.dataset.clip);
    await Promise.all(sources.map((source) => { const image = new Image(); image.src = source; return image.decode().catch(() => {}); }));
    requestAnimationFrame(() => pictures.forEach((image, at) => { image.src = sources[at]; }));
    button.dataset.play = plays ? '' : 'on';
    button.textContent = plays ? say('Play all clips') : say('Show posters');
  });
  document.addEventListener('pointermove', (event) => {   // both sides are enlarged around the pointer
    const frame = event.target.closest && event.target.closest('.compare .pictures');
    if (!frame) return;
    const place = frame.getBoundingClientRect();
    frame.style.setProperty('--x', `${100 * (event.clientX - place.left) / place.width}%`);
    frame.style.setProperty('--y', `${100 * (event.clientY - place.top) / place.height}%`);
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
      box.setAttribute('aria-label', say('Picture'));
      box.innerHTML = '<img alt=""><p aria-live="polite"></p><div><button type="button" class="button small" data-walk="-1"></button>'
        + '<button type="button" class="button small" data-walk="1"></button><button type="button" class="button small" data-close></button></div>';
      const names = [`← ${say('Earlier')}`, `${say('Later')} →`, say('Close')];
      box.querySelectorAll('button').forEach((each, at) => { each.textContent = names[at]; });
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
      (navigator.clipboard ? navigator.clipboard.writeText(content) : Promise.reject()).then(() => { copy.textContent = say('Copied'); }, () => { copy.textContent = say('Select and copy'); });
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

  // ── The page names the language it was sent in; Gradio writes the browser's there once it has loaded ──
  const page = document.documentElement;
  const nameLanguage = () => { if (page.lang !== page.dataset.sentIn) page.lang = page.dataset.sentIn; };
  nameLanguage();
  new MutationObserver(nameLanguage).observe(page, {attributeFilter: ['lang']});

  // ── The other language, from here on (the YAML editor has a data-language, too) ──
  document.addEventListener('click', (event) => {
    const button = event.target.closest && event.target.closest('.rail [data-language]');
    if (!button) return;
    document.cookie = `palate_language=${button.dataset.language}; path=/; max-age=31536000; samesite=lax`;
    window.location.reload();
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
    // Gradio names every radio button for itself; of one name, Tab stops once and arrows walk them.
    for (const group of document.querySelectorAll('fieldset')) {
      const buttons = [...group.querySelectorAll('input[type=radio]')];
      for (const button of buttons) if (button.name !== buttons[0].name) button.name = buttons[0].name;
    }
    const figure = document.querySelector('.compare:not(.empty)');
    if (figure) {
      placeBorder(border);
      lay(figure);
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

  // ── A page whose Studio was restarted asks in vain: it loads itself again, unless something is being typed into it ──
  const PING = 5000;
  let studio = null;
  const ping = async () => {
    const answer = await fetch('./favicon.ico', {cache: 'no-store'}).catch(() => null);
    const now = answer && answer.headers.get('x-palate-opened');
    if (now && studio && now !== studio && !document.getElementById('yaml')) location.reload();
    studio = now || studio;
  };
  ping();
  setInterval(ping, PING);
})();
