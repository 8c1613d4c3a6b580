"""The pages, a module for each: `routes`, and `live` for what is kept up to date while a page is open (see `site`)."""
