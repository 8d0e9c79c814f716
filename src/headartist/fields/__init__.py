"""Hash grids with small networks behind them."""
